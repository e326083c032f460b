"""Exact match at every evaluation of a run: the loss alone does not say whether answers are right."""

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate import Accelerator, DistributedType
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dycktune.data.rows import Example
from dycktune.evaluation.answers import Answers, answers
from dycktune.evaluation.metrics import answered
from dycktune.evaluation.distributed import answers_together
from dycktune.models.card import ModelCard
from dycktune.models.loading import LoadedModel
from dycktune.runs import RunFolder


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Asks the model in training the run's evaluation problems; each rank takes its share of them."""

    run: RunFolder
    tokenizer: PreTrainedTokenizerBase
    card: ModelCard
    examples: Sequence[Example]

    def score(self, model: PreTrainedModel, step: int, accelerator: Accelerator) -> dict[str, float]:
        """`exact_match` and, for bracket problems, `trace_valid`; kept by problem in scores.jsonl.

        `model` is in evaluation mode; no random state is touched.

        Raises:
            RunError: another rank could not ask its share; on that rank, what hindered it.
        """
        loaded = LoadedModel(
            model=model, tokenizer=self.tokenizer, card=self.card, reference=f"the model at step {step}"
        )
        sharded = accelerator.distributed_type == DistributedType.FSDP
        row = answered(*(self._in_step(loaded) if sharded else self._together(loaded)))
        if accelerator.is_main_process:
            self.run.append_score({"step": step, **row})
        return {name: row[name] for name in ("exact_match", "trace_valid") if name in row}

    def _together(self, loaded: LoadedModel) -> Answers:
        return answers_together(lambda: loaded, self.examples, marker=self.card.marker, sample=1)

    def _in_step(self, loaded: LoadedModel) -> Answers:
        """Every rank asks everything: each pass of a sharded model needs all ranks, so that shares would not end."""
        return answers(loaded, self.examples, marker=self.card.marker, sample=1)
