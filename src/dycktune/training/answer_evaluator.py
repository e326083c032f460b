"""Exact match at every evaluation of a run: the loss alone does not show whether answers are right."""

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate import Accelerator, DistributedType
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dycktune.evaluation.distributed import evaluate_distributed
from dycktune.evaluation.evaluate import Evaluation, evaluate
from dycktune.evaluation.wrong_replies import wrong_replies
from dycktune.models.loading import LoadedModel
from dycktune.records import ScoreRow
from dycktune.runs import RunFolder
from dycktune.tasks.base import Item, Task

SAMPLE = 1
"""Replies that are checked at each evaluation: reference decoding is slow compared to a training step."""


@dataclass(frozen=True, kw_only=True)
class AnswerEvaluator:
    """Evaluates the model on the run's evaluation items during training; each rank takes its share of them."""

    run: RunFolder
    tokenizer: PreTrainedTokenizerBase
    task: Task
    items: Sequence[Item]

    def evaluate(self, model: PreTrainedModel, step: int, accelerator: Accelerator) -> dict[str, float]:
        """`exact_match` and, if the task verifies steps, `trace_valid`. The answers of all items go to scores.jsonl.

        `model` is in evaluation mode; no random state is touched.

        Raises:
            RunError: another rank failed.
        """
        loaded = LoadedModel(
            model=model, tokenizer=self.tokenizer, card=None, reference=f"the model at step {step}"
        )
        found = self._evaluation(loaded, sharded=accelerator.distributed_type == DistributedType.FSDP)
        if accelerator.is_main_process:
            self.run.append_score(_score(step, found))
        scores = {"exact_match": found.exact_match, "trace_valid": found.trace_valid}
        return {name: share.value for name, share in scores.items() if share is not None}

    def _evaluation(self, loaded: LoadedModel, *, sharded: bool) -> Evaluation:
        if sharded:
            # Each forward pass of a sharded model needs all ranks, so shares of unequal length would deadlock.
            return evaluate(loaded, self.task, self.items, sample=SAMPLE)
        return evaluate_distributed(lambda: loaded, self.task, self.items, sample=SAMPLE)


def _score(step: int, found: Evaluation) -> ScoreRow:
    row = ScoreRow(step=step, **found.answers.to_record())
    if wrong := wrong_replies(found.task, found.completions):
        row["wrong_replies"] = wrong
    return row
