"""Exact match at every evaluation of a run: the loss alone does not say whether answers are right."""

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dycktune.data.rows import Example
from dycktune.evaluation.answers import answers
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
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        loaded = LoadedModel(
            model=model, tokenizer=self.tokenizer, card=self.card, reference=f"the model at step {step}"
        )
        share = answers(loaded, self.examples[rank::ranks], marker=self.card.marker, sample=1)
        correct, valid = (self._together(part) for part in share)
        found = {"exact_match": sum(correct) / len(correct)}
        if valid:
            found["trace_valid"] = sum(valid) / len(valid)
        if self.accelerator.is_main_process:
            self.run.append_score({"step": step, **answered(correct), **found})
        return found

    def _together(self, share: Sequence[bool]) -> list[bool]:
        """Every rank's part, in the order of the examples."""
        parts: list[tuple[int, list[bool]]] = gather_object([(self.accelerator.process_index, list(share))])
        whole = [False] * sum(len(part) for _, part in parts)
        for rank, part in parts:
            whole[rank :: len(parts)] = part
        return whole
