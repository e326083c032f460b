"""The view of a training: the bar, the last figures, a small curve of the loss; and its log as plain lines."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from dycktune.console.bar import bar_line, waiting
from dycktune.console.curve import Curve, Point, draw
from dycktune.console.figures import duration, figure, speed
from dycktune.console.pace import Pace
from dycktune.console.terminal import CTRL_C, Terminal
from dycktune.records import MetricsRow
from dycktune.training.events import (
    AtStep,
    Evaluating,
    Event,
    GuardActed,
    Notice,
    Sampled,
    guard_sentence,
)

SMALLEST_CURVE = 12
"""Characters; on a narrower terminal there is no curve."""
SMALLEST_HEIGHT = 8
"""Lines of a terminal that has room for more than the bar."""


class TrainingView:
    """Follows a training by its log rows and its events, and shows them."""

    def __init__(self, terminal: Terminal, *, evaluation_steps: int, earlier: Iterable[MetricsRow] = ()):
        """Begin to follow.

        Args:
            terminal: Where the view is shown.
            evaluation_steps: Steps between two evaluations.
            earlier: The log rows of a run that is resumed.
        """
        self._terminal, self._evaluation_steps, self._earlier = terminal, evaluation_steps, earlier
        self._at: AtStep | None = None
        self._evaluating: Evaluating | None = None
        self._pace = Pace()
        self._spinner = Spinner("dots")
        self._last: dict[str, float] = {}
        self._losses: list[Point] = []
        self._drawn: tuple[tuple[int, ...], Curve | None] | None = None

    def on_log(self, row: Mapping[str, Any]) -> None:
        """Take in a logged row. Evaluations are always printed, the others only where no view shows them."""
        self._remember(row, max_steps=row["max_steps"])
        line = metrics_line(row)
        if line and ("loss" not in row or not self._terminal.shows_output):
            self._terminal.say(line)

    def on_event(self, event: Event) -> None:
        """Take in an event. The guard's and notices are printed."""
        match event:
            case AtStep():
                if self._at is None:
                    self._begin(event)
                self._at, self._evaluating = event, None
                self._pace.advance(event.step)
            case Evaluating():
                self._evaluating = event
                self._pace.pause()
            case GuardActed(row):
                style = "bold red" if row["action"] == "stopped" else "yellow"
                self._terminal.say(f"guard: {guard_sentence(row)}", style=style)
            case Notice(text):
                self._terminal.say(text, style="yellow")
            case Sampled(row, summary):
                self._terminal.say(f"step {row['step']}  sampled: {summary}")

    def _begin(self, at: AtStep) -> None:
        """Take in the first step, and the earlier rows up to it: the steps after it are trained again."""
        self._pace = Pace(done=at.step)
        for row in self._earlier:
            if row["step"] <= at.step:
                self._remember(row, max_steps=at.max_steps)

    def _remember(self, row: Mapping[str, Any], *, max_steps: int) -> None:
        self._last |= {name: row[name] for name in _FIGURES if name in row}
        if "loss" in row:
            self._losses.append(Point(row["step"] / max(1, max_steps), row["loss"]))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._at is None:
            title = "loading model and data"
            yield waiting(self._spinner, title, self._pace.elapsed, plain=options.ascii_only)
            return
        step, total = self._at
        width = options.max_width - CTRL_C
        yield bar_line("training", step, total, self._bar_figures(self._at), width=width)
        if self._last and console.height >= SMALLEST_HEIGHT:
            yield self._figures_beside_curve(width, plain=options.ascii_only)

    def _bar_figures(self, at: AtStep) -> list[str]:
        figures = [f"{at.step}/{at.max_steps}"]
        if self._evaluating:
            answers = f" {self._evaluating.answered}/{self._evaluating.questions}"
            figures.append("evaluating" + (answers if self._evaluating.questions else ""))
        elif self._pace.per_second is not None:
            figures.append(speed(self._pace.per_second, "steps"))
        evaluations = at.max_steps // self._evaluation_steps - at.step // self._evaluation_steps
        left = self._pace.left(at.max_steps, pauses=evaluations)
        return figures if left is None else [*figures, f"{duration(left)} left"]

    def _figures_beside_curve(self, width: int, *, plain: bool) -> Table:
        rows = [
            (title, style, _shown(name, self._last[name]))
            for name, (title, style) in _FIGURES.items()
            if name in self._last
        ]
        table = Table.grid(padding=(0, 1, 0, 0))
        taken = max(len(title) for title, _, _ in rows) + max(len(text) for _, _, text in rows) + 2
        curve = self._curve(width - taken, len(rows), plain=plain)
        lines = curve.lines if curve else [""] * len(rows)
        scale = _scale(curve, len(rows))
        for (title, style, text), line, mark in zip(rows, lines, scale, strict=True):
            table.add_row(
                Text(title, "dim"),
                Text(text.rjust(_WIDTH), style),
                Text(line, _LOSS_STYLE),
                Text(mark, "dim"),
            )
        return table

    def _curve(self, room: int, height: int, *, plain: bool) -> Curve | None:
        """The curve of the train loss; drawn again only when there is a new value, or another size."""
        width = room - _WIDTH - 1
        if width < SMALLEST_CURVE:
            return None
        key = (len(self._losses), width, height)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = key, draw(self._losses, width=width, height=height, plain=plain)
        return self._drawn[1]


_LOSS_STYLE = "cyan"

_FIGURES = {
    "loss": ("train loss", _LOSS_STYLE),
    "eval_loss": ("eval loss", ""),
    "reward": ("reward", _LOSS_STYLE),
    "eval_exact_match": ("exact match", "green"),
    "learning_rate": ("learning rate", ""),
}
"""The figures of a log row that are shown: title and style."""

_WIDTH = len("7.95e-07")
"""Characters of a figure."""


def _shown(name: str, value: float) -> str:
    return f"{value:.3f}" if name == "eval_exact_match" else figure(value)


def _scale(curve: Curve | None, height: int) -> list[str]:
    """The values of the curve's highest and lowest dots, beside its first and last line."""
    if curve is None or height < 2:
        return [""] * height
    return [figure(curve.highest), *[""] * (height - 2), figure(curve.lowest)]


@contextmanager
def watching(
    *, evaluation_steps: int, earlier: Iterable[MetricsRow] = (), quiet: bool = False
) -> Iterator[TrainingView]:
    """Show a training in a terminal until the end of the block; elsewhere its log is printed as lines."""
    terminal = Terminal(quiet=quiet)
    view = TrainingView(terminal, evaluation_steps=evaluation_steps, earlier=earlier)
    with terminal.showing(view):
        yield view


def metrics_line(row: Mapping[str, Any]) -> str | None:
    """A logged row of a run as a line; None for a row without a loss."""
    step = f"step {row['step']:>{len(str(row['max_steps']))}}/{row['max_steps']}"
    if "reward" in row:
        return f"{step}  {_rewards(row)}  lr {row['learning_rate']:.1e}"
    if "loss" in row:
        return f"{step}  loss {_parts(row, '')}  lr {row['learning_rate']:.1e}"
    if "eval_loss" in row:
        return f"{step}  eval {_parts(row, 'eval_')}{_answers(row)}"
    return f"{step}{_answers(row)}" if "eval_exact_match" in row else None


def _rewards(row: Mapping[str, Any]) -> str:
    """The rewards of sampled replies, by part, and the figures that show whether they teach anything."""
    parts = [key.split("/")[1] for key in row if key.startswith("rewards/") and key.endswith("/mean")]
    shown = [
        f"{part} {row[f'rewards/{part}/mean']:.3f}"
        for part in parts
        if row[f"rewards/{part}/mean"] is not None
    ]
    rest = {
        "frac_reward_zero_std": "groups without spread",
        "completions/mean_length": "tokens",
        "entropy": "entropy",
        "kl": "KL",
    }
    more = [f"{title} {row[key]:.3g}" for key, title in rest.items() if row.get(key) is not None]
    return "  ".join([f"reward {row['reward']:.3f} ({', '.join(shown)})", *more])


def _answers(row: Mapping[str, Any]) -> str:
    """The exact match of an evaluation, and its time beside that of the training before it."""
    if "eval_exact_match" not in row:
        return ""
    text = f"  exact match {row['eval_exact_match']:.3f}"
    if "eval_answers_seconds" not in row or "eval_training_seconds" not in row:
        return text
    return f"{text} ({row['eval_answers_seconds']:.0f} s, training {row['eval_training_seconds']:.0f} s)"


def _parts(row: Mapping[str, Any], prefix: str) -> str:
    parts = {"reasoning": "loss_reasoning", "answer": "loss_answer"}
    shown = [f"{name} {figure(row[prefix + key])}" for name, key in parts.items() if prefix + key in row]
    if (accuracy := prefix + "accuracy_answer") in row:
        shown.append(f"answer tokens right {row[accuracy]:.4f}")
    return figure(row[f"{prefix}loss"]) + (f" ({', '.join(shown)})" if shown else "")
