"""Exact match at every evaluation of a run: the loss alone does not show whether answers are right."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from accelerate import Accelerator, DistributedType
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dycktune import ranks
from dycktune.evaluation.distributed import evaluate_distributed
from dycktune.evaluation.evaluate import Evaluation, evaluate
from dycktune.models.loading import LoadedModel
from dycktune.records import RepliesRow, ScoreRow
from dycktune.runs import RunFolder
from dycktune.tasks.base import Item, Task
from dycktune.training.events import Evaluating, OnEvent

SAMPLE = 1
"""Replies that are checked at each evaluation: reference decoding is slow compared to a training step."""


@dataclass(kw_only=True)
class AnswerEvaluator:
    """Evaluates the model on the run's evaluation items during training; each rank takes its share of them."""

    run: RunFolder
    tokenizer: PreTrainedTokenizerBase
    task: Task
    items: Sequence[Item]
    on_event: OnEvent | None = None
    """Called with the number of answers so far."""
    _replies: dict[str, str] | None = field(default=None, init=False)
    """Of the last evaluation, by the items' keys: drafts of the next one."""

    def evaluate(self, model: PreTrainedModel, step: int, accelerator: Accelerator) -> dict[str, float]:
        """`exact_match`, `answers_seconds` and, if the task verifies steps, `trace_valid`.

        The answers of all items go to scores.jsonl, and the replies to replies.jsonl. `model` is in evaluation mode; no
        random state is touched.

        Raises:
            RunError: another rank failed.
        """
        started = time.perf_counter()
        loaded = LoadedModel(
            model=model, tokenizer=self.tokenizer, card=None, reference=f"the model at step {step}"
        )
        found = self._evaluation(loaded, sharded=accelerator.distributed_type == DistributedType.FSDP)
        self._replies = found.replies
        if accelerator.is_main_process:
            self.run.append_score(ScoreRow(step=step, **found.answers.to_record()))
            self.run.append_replies(RepliesRow(step=step, texts=[c.text for c in found.completions]))
        shares = {"exact_match": found.exact_match, "trace_valid": found.trace_valid}
        scores = {name: share.value for name, share in shares.items() if share is not None}
        return {**scores, "answers_seconds": round(time.perf_counter() - started, 2)}

    def _evaluation(self, loaded: LoadedModel, *, sharded: bool) -> Evaluation:
        earlier = self._stored_replies() if self._replies is None else self._replies
        if sharded:
            # Each forward pass of a sharded model needs all ranks, so shares of unequal length would deadlock.
            report = self._reporter(len(self.items))
            return evaluate(loaded, self.task, self.items, sample=SAMPLE, earlier=earlier, on_reply=report)
        report = self._reporter(len(ranks.shard(self.items)))
        return evaluate_distributed(
            lambda: loaded, self.task, self.items, sample=SAMPLE, earlier=earlier, on_reply=report
        )

    def _reporter(self, questions: int) -> Callable[[int], None] | None:
        on_event = self.on_event
        if on_event is None or not ranks.is_main():
            return None
        return lambda answered: on_event(Evaluating(answered, questions))

    def _stored_replies(self) -> dict[str, str]:
        """The last replies of a run that is resumed; none for a new run."""
        stored = ranks.on_main(self.run.read_replies)
        texts = stored[max(stored)] if stored else []
        return {item.key: text for item, text in zip(self.items, texts, strict=False)}
