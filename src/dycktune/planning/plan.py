"""The plan of a recipe: all facts, and the concerns that follow from them."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel

from dycktune import ranks
from dycktune.errors import DataError
from dycktune.models.loading import default_device, load_skeleton, load_tokenizer, skeleton
from dycktune.models.precision import in_bfloat16
from dycktune.outputs import ConcernOutput, FootprintOutput, MeasurementOutput, PlanOutput, ScheduleOutput
from dycktune.planning.concerns import Concern, concerns
from dycktune.planning.facts import Facts
from dycktune.planning.footprint import Footprint, footprint
from dycktune.planning.measurement import Measurement, measure
from dycktune.planning.schedule import schedule
from dycktune.preview.survey import Survey, overlap, survey, surveyed
from dycktune.training.adapter import with_adapter, with_lora_of_start
from dycktune.training.config import Config
from dycktune.training.examples import require_imitation, with_task
from dycktune.training.memory import free_bytes
from dycktune.training.recipe import task_of
from dycktune.training.run import Beginning, base_of


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do and need."""

    facts: Facts
    concerns: tuple[Concern, ...]

    @property
    def warned(self) -> bool:
        """Whether anything asks for a change."""
        return any(concern.severity == "warning" for concern in self.concerns)

    @property
    def training_seconds(self) -> float | None:
        """Of all steps; None where nothing was measured."""
        facts = self.facts
        if facts.measured is None:
            return None
        tokens = facts.schedule.tokens // ranks.world_size()
        return facts.measured.training_seconds(facts.schedule.batches, tokens)

    @property
    def evaluation_seconds(self) -> float | None:
        """Of all evaluations during training: the loss, and the answers; None where nothing was measured."""
        facts = self.facts
        if facts.measured is None:
            return None
        tokens = sum(map(len, facts.evaluation.tokenized))
        answers = facts.answers_per_evaluation * (facts.measured.answer_seconds or 0.0)
        return facts.schedule.evaluations * (facts.measured.eval_seconds_per_token * tokens + answers)

    def to_json(self) -> PlanOutput:
        """The plan as plain values."""
        facts = self.facts
        measured = None if facts.measured is None else cast("MeasurementOutput", asdict(facts.measured))
        sizes = {
            **asdict(facts.footprint),
            "memory": facts.footprint.memory,
            "disk": facts.footprint.disk(facts.schedule),
        }
        return {
            "model": facts.config.model.base,
            "device": facts.device,
            "schedule": cast("ScheduleOutput", {**asdict(facts.schedule), "tokens": facts.schedule.tokens}),
            "footprint": cast("FootprintOutput", sizes),
            "measured": measured,
            "memory": facts.memory,
            "free_memory": facts.free_memory,
            "free_disk": facts.free_disk,
            "training_seconds": self.training_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "concerns": [cast("ConcernOutput", concern._asdict()) for concern in self.concerns],
        }


def plan(config: Config, *, measured: bool = True, out: Path = Path()) -> Plan:
    """Plan a recipe.

    Args:
        config: The recipe.
        measured: Whether the base is loaded and a few steps are run.
        out: A folder on the disk of the run; its parents where it does not exist.

    Raises:
        DycktuneError: a file cannot be read, or the base cannot be trained.
    """
    require_imitation(config, "plan")
    config = with_lora_of_start(with_task(config))
    base = config.model
    tokenizer = load_tokenizer(base.base, trust_remote_code=base.trust_remote_code)
    train, evaluation = (survey(config, split, tokenizer) for split in ("train", "eval"))
    for split in (train, evaluation):
        if not split.tokenized:
            raise DataError(f"{split.origin}: no row can be used; the first: {split.refused[0].reason}")
    size = _size(
        config, load_skeleton(base.base, trust_remote_code=base.trust_remote_code), train, evaluation
    )
    figures, free = None, _free_memory()
    if measured:
        model, tokenizer = base_of(config)
        figures = measure(
            config,
            model,
            tokenizer,
            train.tokenized,
            evaluation.tokenized,
            task_of(config),
            [e.item for e in evaluation.examples[: config.eval.exact_match] if e.item is not None],
        )
    return _plan(config, train, evaluation, size, figures, free, out)


def plan_of(beginning: Beginning, out: Path) -> Plan:
    """The plan of a run that is about to start, from the data that it has loaded; nothing is measured."""
    config, examples = beginning.config, beginning.examples
    train = surveyed(config, "train", examples.train, beginning.train_set)
    evaluation = surveyed(config, "eval", examples.eval, beginning.eval_set)
    base = skeleton(beginning.model.config, trust_remote_code=config.model.trust_remote_code)
    return _plan(config, train, evaluation, _size(config, base, train, evaluation), None, _free_memory(), out)


def _plan(
    config: Config,
    train: Survey,
    evaluation: Survey,
    size: Footprint,
    figures: Measurement | None,
    free_memory: int,
    out: Path,
) -> Plan:
    lengths = [len(example) for example in train.tokenized]
    supervised = sum(int((example.label_weights > 0).sum()) for example in train.tokenized)
    facts = Facts(
        config=config,
        train=train,
        evaluation=evaluation,
        overlap=overlap(train, evaluation),
        schedule=schedule(config, lengths, supervised=supervised, ranks=ranks.world_size()),
        footprint=size,
        measured=figures,
        device=default_device(),
        free_memory=free_memory,
        free_disk=shutil.disk_usage(_existing(out)).free,
    )
    return Plan(facts=facts, concerns=tuple(concerns(facts)))


def _size(config: Config, base: PreTrainedModel, train: Survey, evaluation: Survey) -> Footprint:
    longest = max(map(len, [*train.tokenized, *evaluation.tokenized]))
    tuned = with_adapter(base, config.lora)
    return footprint(config, base, tuned, longest=longest, bfloat16=in_bfloat16(config.optim.precision))


def _free_memory() -> int:
    """On the device that trains."""
    return free_bytes(torch.device(default_device()))


def _existing(path: Path) -> Path:
    """The nearest folder above `path` that exists."""
    candidates: Sequence[Path] = [path.resolve(), *path.resolve().parents]
    return next(folder for folder in candidates if folder.exists())
