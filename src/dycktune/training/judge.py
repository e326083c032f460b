"""Exact match at every evaluation of a run: the loss alone does not say whether answers are right."""

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dycktune.data.rows import Example
from dycktune.errors import DycktuneError
from dycktune.evaluation.answers import Answers, answers
from dycktune.evaluation.metrics import answered
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
    accelerator: Accelerator

    def score(self, model: PreTrainedModel, step: int) -> dict[str, float]:
        """`exact_match` and, for bracket problems, `trace_valid`; kept by problem in scores.jsonl.

        `model` is in evaluation mode; no random state is touched.
        """
        found: list[Answers | DycktuneError] = gather_object([self._share(model, step)])
        for part in found:
            if isinstance(part, DycktuneError):
                raise part
        correct, valid = zip(*(part for part in found if isinstance(part, Answers)), strict=True)
        whole = sum(map(len, valid)) == sum(map(len, correct))
        row = answered(_interleaved(correct), _interleaved(valid) if whole else ())
        if self.accelerator.is_main_process:
            self.run.append_score({"step": step, **row})
        return {name: row[name] for name in ("exact_match", "trace_valid") if name in row}

    def _share(self, model: PreTrainedModel, step: int) -> Answers | DycktuneError:
        """This rank's answers, or what went wrong: raised here alone, it would leave the others waiting."""
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        loaded = LoadedModel(
            model=model, tokenizer=self.tokenizer, card=self.card, reference=f"the model at step {step}"
        )
        try:
            return answers(loaded, self.examples[rank::ranks], marker=self.card.marker, sample=1)
        except DycktuneError as error:
            return error


def _interleaved(shares: Sequence[Sequence[bool]]) -> list[bool]:
    """Every rank's share, in the order of the examples."""
    whole = [False] * sum(map(len, shares))
    for rank, share in enumerate(shares):
        whole[rank :: len(shares)] = share
    return whole
