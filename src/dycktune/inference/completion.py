"""A model's replies to the items of a task, verified."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from dycktune.errors import ItemError
from dycktune.inference.drafts import KnownText, TokenDraft
from dycktune.inference.reference import Drafter, Prompt, Reply
from dycktune.inference.speculative import decode
from dycktune.models.chat import (
    THINK_CLOSE,
    completion_text,
    end_of_turn,
    opens_think,
    prompt_ids,
    reply_text,
)
from dycktune.models.codec import codec_of
from dycktune.models.loading import LoadedModel
from dycktune.tasks.base import Demonstration, Item, Task, Verdict
from dycktune.tasks.registry import make_task

UNKNOWN_LENGTH = 1024
"""Maximum tokens of a reply where the task has no solution that shows the length."""


class Answered(Protocol):
    """A reply to one item, from a model of this program or of a server, and the verifier's verdict."""

    @property
    def item(self) -> Any:
        """The item, of the task's own type."""
        ...

    @property
    def text(self) -> str:
        """The reply, without special tokens."""
        ...

    @property
    def verdict(self) -> Verdict:
        """The verifier's verdict."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the model ended its turn within the limit."""
        ...

    @property
    def near_tie(self) -> bool:
        """Whether the row was decoded again alone, because two logits came close."""
        ...


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A model's reply to one item, and the verifier's verdict."""

    item: Any
    """The item, of the task's own type."""
    prompt: Prompt
    text: str
    """The reply, decoded without special tokens."""
    verdict: Verdict
    reply: Reply

    @property
    def finished(self) -> bool:
        """Whether the model ended its turn within the limit."""
        return self.reply.finished

    @property
    def near_tie(self) -> bool:
        """Whether the row was decoded again alone, because two logits came close."""
        return self.reply.alone


@dataclass(frozen=True, kw_only=True)
class VerifiedReply:
    """A reply that was not decoded in this process, such as a server's, and the verifier's verdict."""

    item: Any
    """The item, of the task's own type."""
    text: str
    verdict: Verdict
    finished: bool
    """Whether the model ended its turn within the limit."""
    near_tie: bool = False
    """Whether the row was decoded again alone; False for a server, which shows no logits."""


def reply_limit(task: Task, length: int | None) -> int:
    """Maximum tokens of a reply: a quarter more than the correct solution, so that a wrong reply has room to end.

    Args:
        task: The task.
        length: Tokens of the solution; None where the task has none.
    """
    room = UNKNOWN_LENGTH if length is None else length + length // 4 + 32
    return max(room, task.min_reply_tokens)


def task_of(loaded: LoadedModel) -> Task:
    """The task a model was trained on; brackets for a model without a card.

    Raises:
        ModelError: the task's prompt has changed since the training.
    """
    return loaded.card.make_task() if loaded.card else make_task()


def complete(
    loaded: LoadedModel,
    items: Sequence[Item | str],
    *,
    task: Task | None = None,
    earlier: Mapping[str, str] | None = None,
    on_reply: Callable[[int], None] | None = None,
) -> list[Completion]:
    """Decode a model's reply to each item greedily, and verify it.

    Args:
        loaded: The model.
        items: Items of the task, or typed questions such as "([{<".
        task: The task; the one the model was trained on when None.
        earlier: Replies of a similar model by the items' keys, such as those of an earlier step of its training. They
            make decoding faster and change no reply.
        on_reply: Called with the number of finished replies.

    Returns:
        A completion for each item, in order.

    Raises:
        ItemError: a typed question is not valid, or an item and its reply exceed the model's context.
    """
    task = task or task_of(loaded)
    known = [task.from_text(item) if isinstance(item, str) else item for item in items]
    build = PromptBuilder(loaded, task, earlier=earlier)
    return complete_prompts(loaded, task, [(item, build(item)) for item in known], on_reply=on_reply)


def complete_prompts(
    loaded: LoadedModel,
    task: Task,
    rows: Sequence[tuple[Item, Prompt]],
    *,
    on_reply: Callable[[int], None] | None = None,
) -> list[Completion]:
    """As `complete`, for items with their prompts."""
    replies = decode(loaded, [prompt for _, prompt in rows], on_reply=on_reply)
    return [
        _completion(loaded, task, item, prompt, reply)
        for (item, prompt), reply in zip(rows, replies, strict=True)
    ]


class PromptBuilder:
    """Builds prompts for one model and task; their common parts are computed once."""

    def __init__(self, loaded: LoadedModel, task: Task, *, earlier: Mapping[str, str] | None = None) -> None:
        """Prepare the prompts; `earlier` as in `complete`.

        Raises:
            ModelError: the chat template has no end of turn.
        """
        self._loaded, self._task, self._earlier = loaded, task, earlier or {}
        self._codec = codec_of(loaded.tokenizer)
        self._end = end_of_turn(loaded.tokenizer)
        self._inside_think = opens_think(loaded.tokenizer, [{"role": "user", "content": "Hello"}])

    def __call__(self, item: Item) -> Prompt:
        """The prompt's ids, the limit of the reply, and drafts.

        Raises:
            ItemError: prompt and solution exceed the model's context.
        """
        ids = prompt_ids(self._loaded.tokenizer, self._task.messages(item))
        solution = self._solution_ids(item)
        length = len(solution) if solution else UNKNOWN_LENGTH
        context = getattr(self._loaded.model.config, "max_position_embeddings", None)
        if context is not None and len(ids) + length > context:
            raise ItemError(
                f"{item.key[:80]!r} is too long for {self._loaded.reference}: prompt and reply take "
                f"{len(ids) + length} tokens, and the model reads {context}; shorten it or use another model"
            )
        limit = reply_limit(self._task, len(solution) if solution else None)
        room = limit if context is None else min(limit, context - len(ids))
        return Prompt(ids=ids, limit=room, drafts=tuple(self._drafts(item, solution)))

    def _solution_ids(self, item: Item) -> list[int] | None:
        """The correct reply, end of turn included; None if the task has none."""
        if self._task.solution(item) is None:
            return None
        return self._ids(self._reply_text(self._task.demonstration(item)))

    def _ids(self, reply: str) -> list[int]:
        """The ids of a reply, end of turn included."""
        text = self._codec.encode(reply, marker=self._task.marker)
        ids = self._loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*cast("list[int]", ids), *self._end]

    def _reply_text(self, shown: Demonstration) -> str:
        return completion_text(
            shown.completion,
            reasoning=shown.reasoning,
            inside_think=self._inside_think,
            marker=self._task.marker,
        )

    def _drafts(self, item: Item, solution: list[int] | None) -> Iterator[Drafter]:
        """The sources of drafts; the first one counts while several agree with the reply."""
        before_answer = f"{THINK_CLOSE}\n\n" if self._inside_think else ""
        draft = partial(self._task.draft, item, before_answer=before_answer)
        if item.key in self._earlier:
            yield KnownText(self._ids(self._earlier[item.key]))
        if solution and draft() is None:
            yield KnownText(solution)
        elif solution:
            yield TokenDraft(
                self._loaded.tokenizer,
                self._codec,
                solution=solution,
                draft=draft,
                marker=self._task.marker,
                end=self._end,
            )


def _completion(loaded: LoadedModel, task: Task, item: Item, prompt: Prompt, reply: Reply) -> Completion:
    text = reply_text(loaded.tokenizer, reply.ids)
    verdict = task.verify(item, text)
    return Completion(item=item, prompt=prompt, text=text, verdict=verdict, reply=reply)
