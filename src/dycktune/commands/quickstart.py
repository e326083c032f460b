"""`dycktune quickstart`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from dycktune.commands.train import how_to_go_on
from dycktune.console.terminal import Quiet, hint_on_interrupt
from dycktune.errors import ConfigError
from dycktune.runs import RUNS

if TYPE_CHECKING:
    from dycktune.data.rows import Example
    from dycktune.evaluation.evaluate import Evaluation
    from dycktune.evaluation.record import EvaluatedItems
    from dycktune.models.loading import LoadedModel
    from dycktune.tasks.dyck.problem import Problem
    from dycktune.tasks.dyck.task import Dyck
    from dycktune.training.config import Config

LONG_PROBLEMS = 60
"""Test problems that are longer than any of training, up to `LONGER` times."""
LONGER = 2.5
BASE_PROBLEMS, BASE_LONGEST = 30, 16
"""Test problems of up to 16 brackets, for the untuned base: few, because it writes to its token limit."""

SHOWN = "([]{<()"
"""The sequence that is completed in full at the end."""
SHOWN_LENGTH = 5
"""Brackets of the training problem that is printed, some of them closing."""


def quickstart(
    config: Path | None = None,
    /,
    *,
    out: Path | None = None,
    count: int = 1000,
    benchmark: Path | None = None,
    quiet: Quiet = False,
) -> int:
    """Run every stage on a small built-in model: data, training, diagnosis, selection, evaluation, report.

    Example: dycktune quickstart --out runs/first

    Parameters
    ----------
    config
        Another recipe of the task dyck, such as recipes/smollm2-135m-lora.toml for a real pretrained model.
    out
        A new run folder; runs/ and the recipe's name if left out, with a number if that exists.
    count
        Test problems of the recipe's lengths.
    benchmark
        A BIG-Bench Hard dyck_languages JSON file to score the tuned model on.
    """
    from dycktune.training import recipe

    if benchmark is not None and not benchmark.is_file():
        raise ConfigError(f"--benchmark {benchmark} is not a file; leave it out or name the published JSON")
    started, file = time.monotonic(), config or _recipe()
    chosen, run = recipe.load(file), out or _free_folder(file.stem)
    task = _dyck(chosen)
    trained_on = _data(chosen)
    with hint_on_interrupt(lambda: how_to_go_on(run)):
        untuned = _base(chosen, task, quiet=quiet)
        _train(chosen, run, quiet=quiet)
        _record_base(chosen, task, run, untuned)
        _diagnose(run)
        _select(run, quiet=quiet)
        _evaluate(run, task, trained_on, count, benchmark, quiet=quiet)
    _complete(run)
    _report(run)
    _close(run, time.monotonic() - started)
    return 0


def _free_folder(name: str) -> Path:
    names = chain([name], (f"{name}-{i}" for i in count_from(2)))
    return next(RUNS / name for name in names if not (RUNS / name).exists())


def _recipe() -> Path:
    """The quickstart recipe: in an installed package beside the code, in a checkout at its root."""
    package = Path(__file__).parents[1] / "recipes" / "quickstart.toml"
    return package if package.is_file() else Path(__file__).parents[3] / "recipes" / "quickstart.toml"


def _dyck(config: "Config") -> "Dyck":
    from dycktune.tasks.dyck.task import Dyck
    from dycktune.training.recipe import task_of

    task = task_of(config)
    if not isinstance(task, Dyck):
        raise ConfigError(
            f"the quickstart completes brackets, and the recipe's task is {task.name}; use dycktune train"
        )
    return task


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
        train, evaluation, _ = load_examples(config)
        problems = {_problem(example).prefix: example for example in train}
        shared = problems.keys() & {_problem(example).prefix for example in evaluation}
        lengths = list(map(len, problems))
        print(f"{len(train)} training problems of {min(lengths)} to {max(lengths)} brackets,")
        print(f"{len(evaluation)} for evaluation, {len(shared)} prefixes in both. A training problem:\n")
        shown = next(filter(_is_shown, train), train[0])
        print(_indented(f"{shown.prompt[-1]['content']}\n\n{shown.completion}"))
    return set(problems)


def _problem(example: "Example") -> "Problem":
    return cast("Problem", example.item)


def _is_shown(example: "Example") -> bool:
    """Short, with a closing bracket, and counted from 1."""
    problem = _problem(example)
    counted_from_1 = example.completion.startswith("# Thought 1:")
    return problem.length == SHOWN_LENGTH and not set(problem.prefix) <= set("([{<") and counted_from_1


def _base(config: "Config", task: "Dyck", *, quiet: bool) -> "Evaluation":
    from dycktune.models.loading import load

    with _stage("Base"):
        loaded = load(config.model.base)
        parameters = sum(p.numel() for p in loaded.model.parameters())
        print(f"{config.model.base}: {type(loaded.model).__name__}, {parameters:,} parameters.")
        if config.model.base == "builtin:tiny":
            print("It was pretrained to index, copy and follow links over arbitrary symbols;")
            print("it has seen no traces and no matching brackets.")
        problems = _test_problems(task, BASE_PROBLEMS, 2, BASE_LONGEST).problems
        untuned = _answers(loaded, task, problems, quiet=quiet)
        print(f"exact match before tuning: {untuned.exact_match} (95 % interval, n = {BASE_PROBLEMS})")
    return untuned


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


def _evaluate(
    out: Path, task: "Dyck", trained_on: set[str], count: int, benchmark: Path | None, *, quiet: bool
) -> None:
    from dycktune.commands.evaluate import evaluation_report, overlap_report
    from dycktune.evaluation.record import EvaluatedItems, from_file
    from dycktune.tasks.dyck.benchmark import read_benchmark
    from dycktune.tasks.dyck.shapes import SHAPES, held_out

    evaluated = _recorder(out, task, quiet=quiet)
    shortest, longest = task.options.min_length, task.options.max_length
    longer, trained = round(LONGER * longest), max(map(len, trained_on))
    with _stage("Evaluation of the tuned model on unseen test problems"):
        print(evaluation_report(evaluated(*_test_problems(task, count, shortest, longest))))
        tuned = evaluated(*_test_problems(task, BASE_PROBLEMS, 2, BASE_LONGEST))
        print(f"on the {BASE_PROBLEMS} problems of the base: {tuned.exact_match}")
    with _stage(
        f"Test problems of {longest + 1} to {longer} brackets; the longest training problem has {trained}"
    ):
        print(evaluation_report(evaluated(*_test_problems(task, LONG_PROBLEMS, longest + 1, longer))))
    with _stage(f"Regular shapes of up to {longest} brackets, none of them in the training data"):
        for shape in SHAPES:
            described = EvaluatedItems(f"shape {shape}, 2 to {longest} brackets", None)
            found = evaluated(held_out(shape, 2, longest), described)
            n = len(found.completions)
            print(f"{shape:<12} exact match {found.exact_match}, trace valid {found.trace_valid}, n = {n}")
    if benchmark is not None:
        with _stage(f"Benchmark {benchmark.name}"):
            evaluation = evaluated(read_benchmark(benchmark), from_file(benchmark, "--benchmark"))
            print(evaluation_report(evaluation))
            print(overlap_report(evaluation, trained_on))


def _recorder(
    out: Path, task: "Dyck", *, quiet: bool
) -> "Callable[[Sequence[Problem], EvaluatedItems], Evaluation]":
    """Evaluates the run's model on problems, and records the evaluation in the run folder."""
    from dycktune.evaluation.record import record_evaluation
    from dycktune.models.loading import load
    from dycktune.runs import model_in_run

    loaded, member = load(str(out)), model_in_run(out)
    assert member is not None

    def evaluated(problems: "Sequence[Problem]", items: "EvaluatedItems") -> "Evaluation":
        found = _answers(loaded, task, problems, quiet=quiet)
        record_evaluation(member, found, items)
        return found

    return evaluated


def _record_base(config: "Config", task: "Dyck", out: Path, untuned: "Evaluation") -> None:
    from dycktune.evaluation.record import record_evaluation
    from dycktune.runs import ModelInRun, RunFolder

    base = ModelInRun(RunFolder(out), "base", config.model.base, None)
    record_evaluation(base, untuned, _test_problems(task, BASE_PROBLEMS, 2, BASE_LONGEST).items)


def _report(out: Path) -> None:
    from dycktune.report import write_report
    from dycktune.runs import RunFolder

    write_report([out], RunFolder(out).report)


def _complete(out: Path) -> None:
    from dycktune.commands.complete import complete

    with _stage(f"One completion in full: {SHOWN}"):
        complete(SHOWN, model=str(out))


def _close(out: Path, seconds: float) -> None:
    print(f"""
== Done in {seconds / 60:.1f} minutes
run folder    {out} (config.toml, metrics.jsonl, checkpoints/, findings.json, scores.jsonl, selection.json)
report        {out / "report.html"}      open it in a browser
loss curve    {out / "loss.png"}
adapter       {out / "adapter"}
merged model  {out / "merged"}

Try next:
  dycktune chat {out}      ask it in the terminal
  dycktune evaluate {out} --count 100 --min-length 101 --max-length 150
  dycktune diagnose PATH      a run folder or trainer_state.json of any Hugging Face Trainer run
  dycktune train recipes/r1-distill-1.5b-lora.toml      on a GPU""")


class _TestProblems(NamedTuple):
    problems: "list[Problem]"
    items: "EvaluatedItems"


def _test_problems(task: "Dyck", count: int, shortest: int, longest: int) -> _TestProblems:
    from dycktune.data.corpus import Corpus
    from dycktune.evaluation.record import generated
    from dycktune.tasks.dyck.task import Dyck

    asked = Dyck(replace(task.options, min_length=shortest, max_length=longest))
    problems = list(Corpus(asked, count=count, split="test"))
    return _TestProblems(problems, generated(asked, count=count, seed=0))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
