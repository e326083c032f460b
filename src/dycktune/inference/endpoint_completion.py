"""A server's replies to the items of a task, verified."""

from collections.abc import Callable, Sequence

from dycktune.errors import ItemError
from dycktune.inference.completion import VerifiedReply, reply_limit
from dycktune.inference.endpoint import Body, Endpoint, EndpointReply, chat
from dycktune.inference.kept_replies import KeptReplies
from dycktune.tasks.base import Item, Task, shortened


def request_body(task: Task, item: Item, *, max_tokens: int | None = None) -> Body:
    """The request that asks for an item.

    Args:
        task: The task.
        item: The item.
        max_tokens: Maximum tokens of the reply. When None, the bytes of the solution and a quarter more: no tokenizer
            makes more tokens than bytes, and the server's own is not known.
    """
    solution = task.solution(item)
    limit = max_tokens or reply_limit(task, None if solution is None else len(solution.encode()))
    return {"messages": task.messages(item), "temperature": 0, "max_tokens": limit}


def complete_by_endpoint(
    endpoint: Endpoint,
    task: Task,
    items: Sequence[Item],
    *,
    max_tokens: int | None = None,
    kept: KeptReplies | None = None,
    on_reply: Callable[[int], None] | None = None,
) -> list[VerifiedReply | ItemError]:
    """A server's reply to each item, verified, in order; an ItemError in the place of one that the server refuses.

    Args:
        endpoint: The model of the server.
        task: The task.
        items: Its items.
        max_tokens: As of `request_body`.
        kept: Replies that need not be asked for again; new ones are added as they come.
        on_reply: Called with the number of finished replies.

    Raises:
        EndpointError: the server cannot be used.
    """
    bodies = [request_body(task, item, max_tokens=max_tokens) for item in items]
    replies: dict[int, EndpointReply | ItemError] = {}
    if kept is not None:
        found = ((i, kept.find(items[i].key, body)) for i, body in enumerate(bodies))
        replies = {i: reply for i, reply in found if reply is not None}
    missing = [i for i in range(len(items)) if i not in replies]

    def take(place: int, reply: EndpointReply | ItemError) -> None:
        i = missing[place]
        replies[i] = reply
        if kept is not None and isinstance(reply, EndpointReply):
            kept.add(items[i].key, bodies[i], reply)
        if on_reply is not None:
            on_reply(len(replies))

    chat(endpoint, [bodies[i] for i in missing], take)
    return [_verified(task, item, replies[i]) for i, item in enumerate(items)]


def _verified(task: Task, item: Item, reply: EndpointReply | ItemError) -> VerifiedReply | ItemError:
    if isinstance(reply, ItemError):
        return ItemError(f"{shortened(item.key)!r}: {reply}")
    verdict = task.verify(item, reply.text)
    return VerifiedReply(item=item, text=reply.text, verdict=verdict, finished=reply.finished)
