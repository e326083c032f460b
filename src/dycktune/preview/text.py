"""A preview for a terminal: examples with a label at each line, and tables. Colours are added where it has them."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dycktune.preview.lines import Line, parts
from dycktune.preview.pieces import MEANINGS, ExampleView, Kind
from dycktune.preview.preview import Preview
from dycktune.preview.survey import Refusal, Survey

STYLES: dict[Kind, tuple[str, str]] = {
    "template": ("dim", "dim"),
    "prompt": ("", ""),
    "reasoning": ("black on #b5d3f5", "black on #93bdeb"),
    "answer": ("black on #b4e3b0", "black on #8bcf86"),
    "end": ("black on #e3c1f0", "black on #d3a3e6"),
    "unsupervised": ("black on #f6dd9c", "black on #ecc965"),
}
"""Two styles for each kind, used in turn, so that the tokens can be told apart."""

HEAD_LINES, TAIL_LINES = 8, 4
"""Lines of a long part that are shown."""
LONGEST_LINE = 600
"""Characters of a line that are shown."""
SHOWN_REFUSALS = 10


def render(preview: Preview, *, full: bool) -> RenderableType:
    """The whole preview; with `full`, long examples and all refused rows are shown whole."""
    blocks: list[RenderableType] = []
    for number, view in enumerate(preview.examples, start=1):
        blocks += [_heading(view, number, len(preview.examples)), *_example(view, full=full), Text()]
    if preview.examples:
        blocks += [_legend(preview), Text()]
    blocks += [_table(preview), *_remarks(preview, full=full)]
    return Group(*blocks)


def _heading(view: ExampleView, number: int, of: int) -> Text:
    counts = ", ".join(f"{kind} {count}" for kind, count in view.tokens_by_kind.items())
    place = f"── example {number} of {of}: {view.source}"
    figures = (
        f"   {view.token_count} tokens ({counts}); the answer begins at token {view.answer_start + 1} "
        f"and has {100 * view.answer_loss_share:.0f} % of the loss weight"
    )
    return Text.assemble((place, "bold"), "\n", figures)


def _example(view: ExampleView, *, full: bool) -> Iterator[Text]:
    for part in parts(view):
        yield from _part(part, full=full)
    for index in view.hidden_messages:
        yield Text(f"   the template does not show message {index + 1} to the model", style="bold")


def _part(part: Sequence[Line], *, full: bool) -> Iterator[Text]:
    """The lines of a part, the first with a label; without `full`, those in the middle of a long part are left out."""
    hidden = 0 if full else max(0, len(part) - HEAD_LINES - TAIL_LINES)
    labels = [f"{part[0].kind:<12} {part[0].weight:>4g}", *[""] * (len(part) - 1)]
    shown = [
        Text(f"{label:<17} │ ", style="dim") + _body(line, full=full)
        for label, line in zip(labels, part, strict=True)
    ]
    yield from shown[:HEAD_LINES] if hidden else shown
    if hidden:
        yield Text(f"{'':<17} │ … {hidden} more lines (--full shows them)", style="dim")
        yield from shown[-TAIL_LINES:]


def _body(line: Line, *, full: bool) -> Text:
    body = Text()
    for number, span in enumerate(line.spans):
        body.append(span.text, style=STYLES[line.kind][number % 2])
    hidden = len(body) - LONGEST_LINE
    if full or hidden <= 0:
        return body
    half = LONGEST_LINE // 2
    return body[:half] + Text(f" … {hidden} characters … ", style="dim") + body[-half:]


def _legend(preview: Preview) -> Text:
    legend = Text("weight in the loss; a mark of its own for each ⏎ line break, → tab, · space at an end\n")
    for kind, weight in preview.weights.items():
        legend.append(f" {kind:<12} ", style=STYLES[kind][1])
        legend.append(f"{weight:>4g}  {MEANINGS[kind]}\n")
    return legend


def _table(preview: Preview) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("tokens")
    for name in ("rows", "min", "median", "p95", "max", f"over {preview.max_tokens}", "refused", "repeated"):
        table.add_column(name, justify="right")
    for survey in preview.surveys:
        table.add_row(*_row(survey))
    return table


def _row(survey: Survey) -> list[str]:
    lengths = survey.lengths or ("-",) * 4
    over = f"{len(survey.overlong)} ({100 * len(survey.overlong) / survey.rows:.1f} %)"
    counts = [survey.rows, *lengths, over, len(survey.refused), survey.repeated]
    return [survey.split, *map(str, counts)]


def _remarks(preview: Preview, *, full: bool) -> Iterator[Text]:
    for survey in preview.surveys:
        yield Text(f"{survey.split}: {survey.origin}")
        yield from _refusals(survey.refused, full=full)
        if survey.overlong:
            longest = survey.overlong[0]
            yield Text(
                f"  over data.max_tokens = {survey.max_tokens}: the longest, {longest.source}, has "
                f"{len(longest)} tokens; training refuses it"
            )
        for first, other in survey.contradictions(preview.marker)[:3]:
            yield Text(f"  {other.source} asks the same as {first.source} and has another answer")
    yield from map(Text, preview.overlap_text())


def _refusals(refused: Sequence[Refusal], *, full: bool) -> Iterator[Text]:
    shown = refused if full else refused[:SHOWN_REFUSALS]
    for refusal in shown:
        yield Text(f"  refused {refusal.source}: {refusal.reason}")
    if len(refused) > len(shown):
        yield Text(f"  … {len(refused) - len(shown)} more refused rows (--full shows them)")
