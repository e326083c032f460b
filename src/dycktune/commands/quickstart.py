"""`dycktune quickstart`."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dycktune.commands.train import how_to_go_on
from dycktune.console.terminal import Quiet, hint_on_interrupt
from dycktune.errors import ConfigError
from dycktune.runs import RUNS

if TYPE_CHECKING:
    from dycktune.data.rows import Example
    from dycktune.evaluation.evaluate import Evaluation
    from dycktune.models.loading import LoadedModel
    from dycktune.tasks.dyck.problem import Problem
    from dycktune.tasks.dyck.task import Dyck
    from dycktune.training.config import Config

TEST_PROBLEMS = 1000
"""Test problems of up to `SHORT` brackets, for the headline figure."""
SHORT, LONG = 40, 100
LONG_PROBLEMS = 60
"""Test problems of more than `SHORT` and up to `LONG` brackets."""
BASE_PROBLEMS = 30
"""Test problems of up to 16 brackets, for the untuned base."""

SHOWN = "([]{<()"
"""The sequence that is completed in full at the end."""
SHOWN_LENGTH = 5
"""Brackets of the training problem that is printed, some of them closing."""


def quickstart(*, out: Path | None = None, benchmark: Path | None = None, quiet: Quiet = False) -> int:
    """Run every stage on a small built-in model: data, training, diagnosis, selection, evaluation.

    Example: dycktune quickstart --out runs/first

    Parameters
    ----------
    out
        A new run folder; runs/quickstart if left out, or runs/quickstart-2 if that exists.
    benchmark
        A BIG-Bench Hard dyck_languages JSON file to score the tuned model on.
    """
    from dycktune.training import recipe

    if benchmark is not None and not benchmark.is_file():
        raise ConfigError(f"--benchmark {benchmark} is not a file; leave it out or name the published JSON")
    started = time.monotonic()
    config, run = recipe.load(_recipe()), out or _free_folder()
    trained_on = _data(config)
    with hint_on_interrupt(lambda: how_to_go_on(run)):
        _base(config, quiet=quiet)
        _train(config, run, quiet=quiet)
        _diagnose(run)
        _select(run, quiet=quiet)
        _evaluate(run, trained_on, benchmark, quiet=quiet)
    _complete(run)
    _close(run, time.monotonic() - started)
    return 0


def _free_folder() -> Path:
    names = chain(["quickstart"], (f"quickstart-{i}" for i in count_from(2)))
    return next(RUNS / name for name in names if not (RUNS / name).exists())


def _recipe() -> Path:
    """The quickstart recipe: in an installed package beside the code, in a checkout at its root."""
    package = Path(__file__).parents[1] / "recipes" / "quickstart.toml"
    return package if package.is_file() else Path(__file__).parents[3] / "recipes" / "quickstart.toml"


@contextmanager
def _stage(title: str) -> Iterator[None]:
    print(f"\n== {title}", flush=True)
    started = time.monotonic()
    yield
    print(f"   ({time.monotonic() - started:.0f} s)", flush=True)


def _data(config: "Config") -> set[str]:
    """Show the data. Returns the training prefixes."""
    from dycktune.training.examples import load_examples

    with _stage("Data"):
        train, evaluation = load_examples(config)
        problems = {_problem(example).prefix: example for example in train}
        shared = problems.keys() & {_problem(example).prefix for example in evaluation}
        lengths = list(map(len, problems))
        print(f"{len(train)} training problems of {min(lengths)} to {max(lengths)} brackets,")
        print(f"{len(evaluation)} for evaluation, {len(shared)} prefixes in both. A training problem:\n")
        shown = next(filter(_is_shown, train))
        print(_indented(f"{shown.prompt[-1]['content']}\n\n{shown.completion}"))
    return set(problems)


def _problem(example: "Example") -> "Problem":
    return cast("Problem", example.item)


def _is_shown(example: "Example") -> bool:
    """Short, with a closing bracket, and counted from 1."""
    problem = _problem(example)
    counted_from_1 = example.completion.startswith("# Thought 1:")
    return problem.length == SHOWN_LENGTH and not set(problem.prefix) <= set("([{<") and counted_from_1


def _base(config: "Config", *, quiet: bool) -> None:
    from dycktune.models.loading import load

    with _stage("Base"):
        loaded, task = load(config.model.base), _dyck()
        parameters = sum(p.numel() for p in loaded.model.parameters())
        print(
            f"{config.model.base}: {type(loaded.model).__name__}, {parameters:,} parameters. It was pretrained to"
        )
        print(
            "index, copy and follow links over arbitrary symbols; it has seen no traces and no matching brackets."
        )
        untuned = _answers(loaded, task, _test_problems(BASE_PROBLEMS, 2, 16), quiet=quiet)
        print(f"exact match before tuning: {untuned.exact_match} (95 % interval, n = {BASE_PROBLEMS})")


def _answers(loaded: "LoadedModel", task: "Dyck", items: "Sequence[Problem]", *, quiet: bool) -> "Evaluation":
    from dycktune.commands.evaluate import answers_on
    from dycktune.console.bar import working
    from dycktune.evaluation.evaluate import evaluate

    with working("answering", unit="replies", quiet=quiet) as bar:
        bar.begin("answering", total=len(items))
        return evaluate(loaded, task, items, on_reply=answers_on(bar, len(items)))


def _train(config: "Config", out: Path, *, quiet: bool) -> None:
    from dycktune.console.training import watching
    from dycktune.training.run import train

    optim, lora, weight = config.optim, config.lora, config.loss.answer_weight
    with _stage("Training"):
        print(f"LoRA r = {lora.r}, learning rate {optim.learning_rate:g}, answer weight {weight:g}")
        with watching(evaluation_steps=config.eval.steps, quiet=quiet) as view:
            train(config, out, on_log=view.on_log, on_event=view.on_event)


def _diagnose(out: Path) -> None:
    from dycktune.commands.diagnose import diagnose

    with _stage("Diagnosis"):
        diagnose(out)


def _select(out: Path, *, quiet: bool) -> None:
    from dycktune.commands.select import select

    with _stage("Selection"):
        select(out, quiet=quiet)


def _evaluate(out: Path, trained_on: set[str], benchmark: Path | None, *, quiet: bool) -> None:
    from dycktune.commands.evaluate import evaluation_report, overlap_report
    from dycktune.models.loading import load
    from dycktune.tasks.dyck.benchmark import read_benchmark
    from dycktune.tasks.dyck.shapes import SHAPES, held_out

    loaded, task = load(str(out)), _dyck()

    def answers(items: "Sequence[Problem]") -> "Evaluation":
        return _answers(loaded, task, items, quiet=quiet)

    with _stage("Evaluation of the tuned model on unseen test problems"):
        print(evaluation_report(answers(_test_problems(TEST_PROBLEMS, 2, SHORT))))
    longest = max(map(len, trained_on))
    with _stage(
        f"Test problems of {SHORT + 1} to {LONG} brackets; the longest training problem has {longest}"
    ):
        print(evaluation_report(answers(_test_problems(LONG_PROBLEMS, SHORT + 1, LONG))))
    with _stage(f"Regular shapes of up to {SHORT} brackets, none of them in the training data"):
        for shape in SHAPES:
            found = answers(held_out(shape, 2, SHORT))
            n = len(found.completions)
            print(f"{shape:<12} exact match {found.exact_match}, trace valid {found.trace_valid}, n = {n}")
    if benchmark is not None:
        with _stage(f"Benchmark {benchmark.name}"):
            evaluation = answers(read_benchmark(benchmark))
            print(evaluation_report(evaluation))
            print(overlap_report(evaluation, trained_on))


def _complete(out: Path) -> None:
    from dycktune.commands.complete import complete

    with _stage(f"One completion in full: {SHOWN}"):
        complete(SHOWN, model=str(out))


def _close(out: Path, seconds: float) -> None:
    print(f"""
== Done in {seconds / 60:.1f} minutes
run folder    {out} (config.toml, metrics.jsonl, checkpoints/, findings.json, scores.jsonl, selection.json)
loss curve    {out / "loss.png"}
adapter       {out / "adapter"}
merged model  {out / "merged"}

Try next:
  dycktune complete "([{{<"
  dycktune evaluate {out} --count 100 --min-length 101 --max-length 150
  dycktune diagnose PATH      a run folder or trainer_state.json of any Hugging Face Trainer run
  dycktune train recipes/r1-distill-1.5b-lora.toml      on a GPU""")


def _dyck(**options: Any) -> "Dyck":
    from dycktune.tasks.dyck.task import Dyck, DyckOptions

    return Dyck(DyckOptions(**options))


def _test_problems(count: int, shortest: int, longest: int) -> "list[Problem]":
    from dycktune.data.corpus import Corpus

    return list(Corpus(_dyck(min_length=shortest, max_length=longest), count=count, split="test"))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
