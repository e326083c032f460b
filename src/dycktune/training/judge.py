"""Exact match at every evaluation of a run: the loss alone does not say whether answers are right."""

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dycktune.data.rows import Example
from dycktune.errors import RunError
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

    def score(self, model: PreTrainedModel, step: int, accelerator: Accelerator) -> dict[str, float]:
        """`exact_match` and, for bracket problems, `trace_valid`; kept by problem in scores.jsonl.

        `model` is in evaluation mode; no random state is touched.

        Raises:
            RunError: another rank could not ask its share; on that rank, what hindered it.
        """
        shares = self._shares(model, step, accelerator)
        correct, valid = zip(*shares, strict=True)
        whole = sum(map(len, valid)) == sum(map(len, correct))
        row = answered(_interleaved(correct), _interleaved(valid) if whole else ())
        if accelerator.is_main_process:
            self.run.append_score({"step": step, **row})
        return {name: row[name] for name in ("exact_match", "trace_valid") if name in row}

    def _shares(self, model: PreTrainedModel, step: int, accelerator: Accelerator) -> list[Answers]:
        """Every rank's answers."""
        ranks, rank = accelerator.num_processes, accelerator.process_index
        loaded = LoadedModel(
            model=model, tokenizer=self.tokenizer, card=self.card, reference=f"the model at step {step}"
        )
        try:
            share = answers(loaded, self.examples[rank::ranks], marker=self.card.marker, sample=1)
        except Exception as error:
            # The other ranks wait in this call; an error raised before it would leave them there.
            gather_object([f"rank {rank}: {error}"])
            raise
        found: list[Answers | str] = gather_object([share])
        failed = [part for part in found if isinstance(part, str)]
        if failed:
            raise RunError(f"the evaluation of step {step} failed on {'; '.join(failed)}")
        return [part for part in found if isinstance(part, Answers)]


def _interleaved(shares: Sequence[Sequence[bool]]) -> list[bool]:
    """Every rank's share, in the order of the examples."""
    whole = [False] * sum(map(len, shares))
    for rank, share in enumerate(shares):
        whole[rank :: len(shares)] = share
    return whole
