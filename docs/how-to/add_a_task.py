"""A task in one file: sort digits. Use it in place of `dycktune`: python add_a_task.py train RECIPE.toml."""

import random
from dataclasses import dataclass

from dycktune.cli import run
from dycktune.errors import DataError
from dycktune.tasks.answers import read_answer
from dycktune.tasks.base import Item, Message, Task, Verdict
from dycktune.tasks.registry import register


@dataclass(frozen=True)
class Digits(Item):
    digits: str


@dataclass(frozen=True, kw_only=True)
class SortOptions:
    length: int = 6
    """Number of digits in a question."""


class SortDigits(Task[Digits]):
    name = "sort_digits"
    item_type = Digits
    Options = SortOptions

    def draw(self, rng: random.Random) -> Digits:
        return Digits(" ".join(rng.choices("0123456789", k=self.options.length)))

    def from_text(self, text: str, *, answer: str | None = None) -> Digits:
        del answer  # the question determines it
        if not text or not set(text) <= set("0123456789 "):
            raise DataError(f"{text!r} is no question of sort_digits; give digits, such as 3 1 2")
        return Digits(" ".join(text.replace(" ", "")))

    def messages(self, item: Digits) -> list[Message]:
        content = f"Sort: {item.digits}\nEnd with {self.marker}and the sorted digits."
        return [{"role": "user", "content": content}]

    def solution(self, item: Digits) -> str:
        counts = [f"{digit}: {item.digits.count(digit)}" for digit in sorted(set(item.digits) - {" "})]
        return "\n".join([*counts, self.marker + self._sorted(item)])

    def verify(self, item: Digits, reply: str) -> Verdict:
        answer, slip = read_answer(reply, marker=self.marker)
        right = answer == self._sorted(item)
        reason = None if right else slip or f"the sorted digits are {self._sorted(item)}"
        return Verdict(correct=right, answer=answer, reason=reason, format_ok=right or slip is None)

    def _sorted(self, item: Digits) -> str:
        return " ".join(sorted(item.digits.split()))


register(SortDigits)

if __name__ == "__main__":
    run()
