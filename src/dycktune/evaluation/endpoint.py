"""How often a model of a server is right, by the same verifier."""

from collections.abc import Callable, Sequence

from dycktune.errors import ItemError
from dycktune.evaluation.evaluate import Evaluation
from dycktune.inference.completion import VerifiedReply
from dycktune.inference.endpoint import Endpoint
from dycktune.inference.endpoint_completion import complete_by_endpoint, request_body
from dycktune.inference.kept_replies import KeptReplies
from dycktune.tasks.base import Item, Task


def evaluate_endpoint(
    endpoint: Endpoint,
    task: Task,
    items: Sequence[Item],
    *,
    max_tokens: int | None = None,
    kept: KeptReplies | None = None,
    on_reply: Callable[[int], None] | None = None,
) -> Evaluation[VerifiedReply]:
    """Ask a server for every item, and verify its replies. None is decoded again: only the server can decode.

    Args:
        endpoint: The model of the server.
        task: The task.
        items: Its items.
        max_tokens: Maximum tokens of a reply; generous for each item when None.
        kept: Where the replies are kept until all have come; an interrupted evaluation goes on with them.
        on_reply: Called with the number of finished replies.

    Raises:
        EndpointError: the server cannot be used.
        ItemError: the server refuses an item, such as one that is too long.
    """
    found = complete_by_endpoint(endpoint, task, items, max_tokens=max_tokens, kept=kept, on_reply=on_reply)
    completions = list(map(_answered, found))
    if kept is not None:
        kept.forget((item.key, request_body(task, item, max_tokens=max_tokens)) for item in items)
    return Evaluation(task=task, completions=completions)


def _answered(completion: VerifiedReply | ItemError) -> VerifiedReply:
    if isinstance(completion, ItemError):
        raise completion
    return completion
