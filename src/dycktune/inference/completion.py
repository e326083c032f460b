"""Ask a model to complete sequences, and read what it wrote."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dycktune.errors import SequenceError
from dycktune.inference.drafts import TraceDraft
from dycktune.inference.speculative import decode
from dycktune.inference.reference import Prompt, Reply
from dycktune.models.chat import end_of_turn, opens_think, prompt_ids, reply_text
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.prompt import messages
from dycktune.tasks.dyck.trace import TraceStyle, style_named
from dycktune.tasks.dyck.verify import Verdict, verify

DEFAULT_STYLE = "compact"
"""How a model without a card is asked."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a model wrote for one problem, and what the verifier says of it."""

    problem: Problem
    prompt: Prompt
    """What the model was asked with."""
    text: str
    """Decoded without special tokens."""
    verdict: Verdict
    reply: Reply

    def to_json(self) -> dict[str, Any]:
        """The line `complete --json` prints."""
        answer, wrong = self.verdict.answer, self.verdict.first_wrong_step
        return {
            "sequence": self.problem.prefix,
            "text": self.text,
            "closing": self.verdict.closing,
            "full": answer or None,
            "correct": self.verdict.correct,
            "format_ok": self.verdict.format_ok,
            "first_wrong_step": wrong.to_json() if wrong else None,
        }


def style_of(loaded: LoadedModel) -> TraceStyle:
    """The trace style a model was trained to write."""
    return style_named(loaded.card.style if loaded.card else DEFAULT_STYLE)


def complete(
    loaded: LoadedModel, problems: Sequence[Problem], *, on_reply: Callable[[int], None] | None = None
) -> list[Completion]:
    """Complete problems greedily, in order.

    Raises:
        SequenceError: a problem's prompt and trace do not fit the model's context.
    """
    ask = Asker(loaded)
    return answer(loaded, [(problem, ask(problem)) for problem in problems], on_reply)


def answer(
    loaded: LoadedModel,
    asked: Sequence[tuple[Problem, Prompt]],
    on_reply: Callable[[int], None] | None = None,
) -> list[Completion]:
    """Complete problems whose prompts are at hand, as `complete` does."""
    replies = decode(loaded, [prompt for _, prompt in asked], on_reply=on_reply)
    return [_read(loaded, *row, reply) for row, reply in zip(asked, replies, strict=True)]


class Asker:
    """Builds a model's prompts; what is the same for all of them is found once."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Prepare the prompts of `loaded`. Raises ModelError for a chat template without an end of turn."""
        self._loaded, self._style = loaded, style_of(loaded)
        self._end = end_of_turn(loaded.tokenizer)
        self._inside_think = opens_think(loaded.tokenizer, messages(Problem("("), self._style))

    def __call__(self, problem: Problem) -> Prompt:
        """The prompt's ids, how many tokens the model may write, and a draft of the trace.

        The limit is a quarter more than a correct trace takes, so that a wrong one can run to its end.

        Raises:
            SequenceError: the two together exceed the model's context.
        """
        tokenizer, config = self._loaded.tokenizer, self._loaded.model.config
        ids = prompt_ids(tokenizer, messages(problem, self._style))
        draft = TraceDraft(tokenizer, problem, self._style, inside_think=self._inside_think, end=self._end)
        length = len(draft.correct)
        context = getattr(config, "max_position_embeddings", None)
        if context is not None and len(ids) + length > context:
            raise SequenceError(
                f"the sequence of {problem.length} brackets is too long for {self._loaded.reference}: prompt "
                f"and trace take {len(ids) + length} tokens, the model reads {context}; shorten it or use "
                "another model"
            )
        limit = length + length // 4 + 32
        room = limit if context is None else min(limit, context - len(ids))
        return Prompt(ids=ids, limit=room, draft=draft)


def _read(loaded: LoadedModel, problem: Problem, prompt: Prompt, reply: Reply) -> Completion:
    text = reply_text(loaded.tokenizer, reply.ids)
    return Completion(problem=problem, prompt=prompt, text=text, verdict=verify(problem, text), reply=reply)
