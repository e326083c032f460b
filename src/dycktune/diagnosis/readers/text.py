"""Lines of names and numbers: torchtune, nanotron, Megatron, nanoGPT, Keras' console, and loggers of one's own."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dycktune.diagnosis.readers.names import Columns
from dycktune.diagnosis.readers.progress import BAR
from dycktune.diagnosis.readers.reading import Reading, number
from dycktune.diagnosis.readers.source import Source
from dycktune.diagnosis.readers.words import EVAL_WORDS, meaning, words

LONGEST = 4000
"""Characters of a line that are searched; a line of metrics has a few hundred."""

_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3}){1,6}|\d{1,40})?(?:\.\d{0,40})?(?:[eE][-+]?\d{1,4})?|nan|NaN|NAN|-?inf|-?Infinity"
PAIR = re.compile(
    r"(?<![\w.])(?P<name>[A-Za-z][\w/.@-]{0,60}(?: [A-Za-z][\w/.@()-]{0,30}){0,4}?)"
    r"(?:\s{0,6}[:=]\s{0,8}|\s{1,6})(?:tensor\(|np\.float\d\d\()?"
    rf"(?P<value>(?=[-+.\dnNiI]){_NUMBER})(?P<unit>[KMGB]?)(?![\w.])"
)
"""A name of up to five words; a colon, an equals sign or a space; a number, in thousands (K) where it says so."""

STEPS = [
    re.compile(
        rf"(?<![\w/])(?:{word})\s{{0,3}}[:=#\[]{{0,2}}\s{{0,12}}(?P<at>\d[\d,]{{0,15}})(?![\d.])"
        r"(?:\s{0,12}/\s{0,12}(?P<total>\d[\d,]{0,15}))?",
        re.IGNORECASE,
    )
    for word in (
        "global[_ ](?:step|iter)",
        "(?:train[_ ])?steps?",
        r"(?:iter(?:ation)?s?|updates?)(?:\(\w{1,9}\))?",
        "batch(?:es)?",
    )
] + [re.compile(r"\[\d{1,6}\]\[\s{0,9}(?P<at>\d{1,12})/(?P<total>\d{1,12})\]")]
"""The number of the step, from the surest word to the least sure."""

EPOCH = re.compile(
    r"(?<![\w/])ep(?:och)?s?\s{0,3}[:=#\[]{0,2}\s{0,8}(?P<at>\d{1,7}(?:\.\d{1,9})?)", re.IGNORECASE
)
KERAS_BAR = re.compile(r"^\s{0,9}(?P<at>\d{1,9})/(?P<total>\d{1,9}) {1,3}[\[\u2501 ]")
TIME = re.compile(
    r"\d{2,4}[-/]\d\d[-/]\d\d[T ]{1,3}\d\d:\d\d(?::\d\d)?(?:[.,]\d{1,9})?Z?|(?<!\d)\d\d:\d\d:\d\d(?!\d)"
)
SPLIT = re.compile(
    r"(?<!\w)(train|eval|valid|vali|val|dev|test)(?:ing|uation|uating|idation|ation)?(?!\w)", re.IGNORECASE
)
LEVEL = re.compile(r"^(?:(?:INFO|DEBUG|WARNING|root|main) )+")

TOPICS = ("loss", "nll", "entropy", "step", "iter", "update", "batch", "ep", r"\]\[", *EVAL_WORDS)
"""What a line must have one of to say anything: most lines of a console are states of a bar."""

METRICS = frozenset(
    [
        *(
            "accuracy",
            "acc",
            "f1",
            "precision",
            "recall",
            "exact",
            "match",
            "em",
            "auc",
            "score",
            "mrr",
            "ndcg",
            "map",
        ),
        *(
            "bleu",
            "rouge",
            "meteor",
            "chrf",
            "wer",
            "cer",
            "ppl",
            "perplexity",
            "bpb",
            "bpc",
            "mae",
            "mse",
            "rmse",
        ),
    ]
)
"""Words that name a measure of quality, so that a line with one and a word for the data is an evaluation."""

UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


class _Line(NamedTuple):
    """What a line says; NaN for what it does not."""

    values: dict[str, float]
    step: float
    total: float
    epoch: float
    is_bar: bool


class _Row(NamedTuple):
    """A line with a loss or a metric, and what it takes from lines before it."""

    values: dict[str, float]
    step: float
    total: float
    epoch: float
    step_before: float


def read(source: Source, columns: Columns) -> Reading | None:
    """Read the lines that name a loss, with the step or epoch of the line or of one before it; None without any."""
    wanted = {name.lower() for name in columns.values()}
    rows: list[_Row] = []
    seen: dict[str, float] = {}
    epoch = before = math.nan
    for line in _lines(source, wanted):
        epoch = _known(line.epoch, epoch)
        if line.values:
            rows.append(_Row(_news(line, seen), line.step, line.total, epoch, before))
        else:
            before = _known(line.step, before)
    if not any(meaning(name).is_loss or name.lower() in wanted for row in rows for name in row.values):
        return None
    steps = _steps(rows)
    numbered = [
        {**row.values, **_finite(step=step, epoch=row.epoch)} for row, step in zip(rows, steps, strict=True)
    ]
    return Reading(format="text of names and numbers", rows=numbered, state=_state(rows, steps))


def _lines(source: Source, wanted: set[str]) -> Iterator[_Line]:
    topic = re.compile("|".join([*TOPICS, *map(re.escape, wanted)]), re.IGNORECASE)
    for line in source.lines():
        bar = KERAS_BAR.match(line.text[:60])
        if bar and bar["at"] != bar["total"]:
            continue  # Keras draws its bar again for each batch; the full one has the means of the epoch
        if topic.search(line.text):
            yield _line(TIME.sub(" ", line.text[:LONGEST]), wanted)


def _line(text: str, wanted: set[str]) -> _Line:
    found, bar, epoch = _step(text), BAR.search(text), EPOCH.search(text)
    values = _values(text, wanted, has_place=bool(found or bar or epoch))
    found = found or (bar if not _is_evaluation(values) else None)  # its bar counts its own batches
    return _Line(values, _group(found, "at"), _group(found, "total"), _group(epoch, "at"), bar is not None)


def _step(text: str) -> re.Match[str] | None:
    return next((match for match in (step.search(text) for step in STEPS) if match), None)


def _is_evaluation(values: Iterable[str]) -> bool:
    """Whether the losses among the names are all of data that is not trained on."""
    splits = {meaning(name).split for name in values if meaning(name).is_loss}
    return bool(splits) and splits <= set(EVAL_WORDS)


def _values(text: str, wanted: set[str], *, has_place: bool) -> dict[str, float]:
    """The numbers of a line by name; none where the line is not about a loss or an evaluation."""
    values: dict[str, float] = {}
    split = ""
    text = BAR.sub(r" \g<name> [", text)
    for pair in PAIR.finditer(text):
        name = LEVEL.sub("", pair["name"])
        value = number(pair["value"])
        if value is None or "best" in words(name) or _is_place(name):
            continue
        if not values:
            header = SPLIT.search(text[: pair.start()])
            split = header[1].lower() if header else ""
        values.setdefault(_with_split(name, split), value * UNITS[pair["unit"]])
    return values if any(_is_telling(name, wanted, has_place) for name in values) else {}


def _news(line: _Line, seen: dict[str, float]) -> dict[str, float]:
    """The values of a line without the evaluation that a progress bar goes on showing until the next."""
    kept = {
        name: value for name, value in line.values.items() if not line.is_bar or _is_new(name, value, seen)
    }
    seen.update(line.values)
    return kept


def _is_new(name: str, value: float, seen: dict[str, float]) -> bool:
    return meaning(name).split not in EVAL_WORDS or seen.get(name) != value


def _is_place(name: str) -> bool:
    """Whether a name is that of a step or an epoch."""
    return not meaning(name).is_loss and words(name)[-1] in (
        "step",
        "steps",
        "iter",
        "iters",
        "iteration",
        "iterations",
        "epoch",
        "epochs",
        "batch",
        "ep",
    )


def _with_split(name: str, split: str) -> str:
    """A name that does not say on which data it was measured, with the word that stands before it in the line."""
    is_plain = not meaning(name).split and not set(words(name)) & {"lr", "learning", "norm", "gnorm", "time"}
    return f"{split} {name}" if split and is_plain else name


def _is_telling(name: str, wanted: set[str], has_place: bool) -> bool:
    meant = meaning(name)
    if name.lower() in wanted or meant.is_loss:
        return True
    return meant.split in EVAL_WORDS and has_place and bool(METRICS & set(words(name)))


def _steps(rows: list[_Row]) -> list[float]:
    """The step on each line, or, where no line of a loss has one, the step on a line of its own before it."""
    if any(math.isfinite(row.step) for row in rows):
        return [row.step for row in rows]
    before = [row.step_before for row in rows]
    known = {step for step in before if math.isfinite(step)}
    return before if len(known) > len(rows) // 3 else [math.nan] * len(rows)


def _state(rows: list[_Row], steps: list[float]) -> dict[str, int]:
    """The planned and the reached number of steps, where the steps of an epoch are not counted anew."""
    totals = {row.total for row in rows if math.isfinite(row.total)}
    known = [step for step in steps if math.isfinite(step)]
    if len(totals) != 1 or not known or known != sorted(known):
        return {}
    return {"max_steps": int(totals.pop()), "global_step": int(known[-1])}


def _group(match: re.Match[str] | None, name: str) -> float:
    text = match.groupdict().get(name) if match else None
    return float(text.replace(",", "")) if text else math.nan


def _known(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def _finite(**values: float) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
