"""All that is known of a run before it starts."""

from dataclasses import dataclass

from dycktune.planning.footprint import Footprint
from dycktune.planning.measurement import Measurement
from dycktune.planning.schedule import Schedule
from dycktune.preview.survey import Overlap, Survey
from dycktune.training.config import Config


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The recipe, its data, and the figures that follow from them."""

    config: Config
    train: Survey
    evaluation: Survey
    overlap: Overlap
    schedule: Schedule
    footprint: Footprint
    measured: Measurement | None
    """None where nothing was measured."""
    device: str
    free_memory: int
    """Bytes, on the device."""
    free_disk: int
    """Bytes."""

    @property
    def longest(self) -> int:
        """Tokens of the longest example."""
        return max(len(e) for survey in (self.train, self.evaluation) for e in survey.tokenized)

    @property
    def memory(self) -> int:
        """Bytes at the peak of training: measured, else the least that is needed."""
        return self.footprint.memory if self.measured is None else self.measured.memory

    @property
    def eval_size_field(self) -> str:
        """The field that says how many evaluation items there are."""
        return "data.eval_count" if self.config.data.eval is None else "data.eval"

    @property
    def answers_per_evaluation(self) -> int:
        """Items that the model answers at each evaluation."""
        return min(self.config.eval.exact_match, len(self.evaluation.examples))
