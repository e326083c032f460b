"""The doctor's answer for one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

from dycktune.diagnosis.deploy import TrainerChoice
from dycktune.diagnosis.finding import Finding
from dycktune.diagnosis.log import Log
from dycktune.diagnosis.metrics import Criterion
from dycktune.diagnosis.reinforcement.rewards import Rewards
from dycktune.diagnosis.surroundings import Surroundings
from dycktune.diagnosis.view import View
from dycktune.outputs import DiagnosisOutput, Label, MetricOutput, RewardLabel, TrainerChoiceOutput

LABELS = get_args(Label)
"""The first seven by precedence: a run's label is the first that a finding supports."""

REWARD_LABELS = get_args(RewardLabel)
"""The labels of a run of reinforcement learning, the first six by precedence."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What happened in a run, which step to deploy, and what to change."""

    label: str
    """One of `LABELS`, or of `REWARD_LABELS` where the run was trained by rewards."""

    findings: tuple[Finding, ...]
    best_step: int | None
    """Where the eval loss was lowest, lucky points aside; None without evaluations."""

    recommended_step: int | None
    """The step to deploy, by the metric that decides, else by the loss; None where the log does not tell."""

    recommended_checkpoint: str | None
    """Path of the checkpoint to deploy among those that exist; None when none is on disk."""

    advice: tuple[str, ...]
    finished: bool
    """Whether the log says that training reached its last step."""

    trainer_choice: TrainerChoice | None
    beside: Surroundings
    view: View
    log: Log
    """The log as it was read."""

    criterion: Criterion
    """By what the step to deploy was to be chosen."""

    rewards: Rewards | None = None
    """What a run of reinforcement learning logged; None for any other."""

    def to_json(self) -> DiagnosisOutput:
        """The stable keys of `dycktune diagnose --json`."""
        choice = self.trainer_choice and cast("TrainerChoiceOutput", vars(self.trainer_choice))
        return {
            "label": cast("Label | RewardLabel", self.label),
            "findings": [finding.to_json() for finding in self.findings],
            "best_step": self.best_step,
            "recommended_step": self.recommended_step,
            "recommended_checkpoint": self.recommended_checkpoint,
            "advice": list(self.advice),
            "metric": self._metric(),
            "format": self.log.format,
            "read_as": self.log.description,
            "trainer_choice": choice,
        }

    def _metric(self) -> MetricOutput | None:
        metric = self.view.metric
        if metric is None:
            return None
        step = self.recommended_step
        value = None if step is None else float(f"{metric.series.at(step):.6g}")
        return {"name": metric.name, "greater_is_better": metric.higher_is_better, "value": value}

    @property
    def deciding(self) -> Finding | None:
        """The finding the label follows from."""
        return next((finding for finding in self.findings if finding.kind == self.label), None)

    @property
    def evidence(self) -> Mapping[str, float]:
        """The numbers of the deciding finding."""
        return self.deciding.evidence if self.deciding else {}
