"""Evaluation on all ranks of a launch: each rank evaluates its share of the items, and all ranks get all replies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dycktune import ranks
from dycktune.evaluation.evaluate import SAMPLE, Evaluation, evaluate
from dycktune.inference.completion import Completion
from dycktune.models.loading import LoadedModel
from dycktune.tasks.base import Item, Task


def evaluate_distributed(
    load: Callable[[], LoadedModel],
    task: Task,
    items: Sequence[Item],
    *,
    sample: int = SAMPLE,
    earlier: Mapping[str, str] | None = None,
    on_reply: Callable[[int], None] | None = None,
) -> Evaluation[Completion]:
    """As `evaluate`, in the order of `items`; `on_reply` counts within this rank's share.

    Args:
        load: Loads this rank's model.
        task: The task.
        items: All items, the same on every rank.
        sample: Replies to decode again, over all ranks.
        earlier: As in `complete`.
        on_reply: Called with the number of this rank's finished replies.

    Raises:
        RunError: another rank failed.
    """

    def own_share() -> Sequence[Completion]:
        rows = -(-sample // ranks.world_size())
        own = ranks.shard(items)
        found = evaluate(load(), task, own, sample=rows, earlier=earlier, on_reply=on_reply)
        return found.completions if ranks.world_size() == 1 else list(map(_without_drafts, found.completions))

    return Evaluation(task=task, completions=ranks.interleave(ranks.all_gather(own_share)))


def _without_drafts(completion: Completion) -> Completion:
    """The completion without its drafts, which hold a tokenizer and are too large to send."""
    return replace(completion, prompt=replace(completion.prompt, drafts=()))
