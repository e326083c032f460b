"""`dycktune evaluate`."""

import json as jsonlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dycktune.errors import ConfigError, DataError
from dycktune.tasks.dyck.problem import Problem

if TYPE_CHECKING:
    from dycktune.evaluation.evaluate import Evaluation
    from dycktune.evaluation.metrics import Proportion


def evaluate(
    model: str,
    *,
    data: Path | None = None,
    benchmark: Path | None = None,
    trained_on: Path | None = None,
    count: int = 1000,
    min_length: int = 2,
    max_length: int = 40,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure exact match and trace validity of a model on test problems, a data file or a benchmark.

    Parameters
    ----------
    model
        A run, checkpoint, adapter or merged folder, a Hub id, or builtin:tiny.
    data
        A data file with bracket problems; problems of the test split are generated if left out.
    benchmark
        A BIG-Bench Hard dyck_languages JSON file, as published.
    trained_on
        The training data file, to say which problems it holds; for a run folder its own data is known.
    count
        Test problems to generate.
    min_length
        Shortest generated prefix, in brackets.
    max_length
        Longest generated prefix.
    seed
        Of the generated problems.
    json
        Print one JSON object.
    """
    if data is not None and benchmark is not None:
        raise ConfigError("--data and --benchmark exclude each other; evaluate one after the other")
    problems = _problems(data, benchmark, count=count, lengths=(min_length, max_length), seed=seed)
    from dycktune import ranks
    from dycktune.evaluation.distributed import evaluate_together
    from dycktune.models.loading import load

    ranks.join()
    first = ranks.rank() == 0
    progress = _progress(len(ranks.share(problems))) if first else None
    evaluation = evaluate_together(lambda: load(model), problems, on_reply=progress)
    if not first:
        return 0
    if json:
        print(jsonlib.dumps(evaluation.to_json()))
        return 0
    print(evaluation_report(evaluation))
    seen = _seen(model, trained_on)
    if seen is not None:
        print(overlap_report(evaluation, seen))
    return 0


def evaluation_report(evaluation: "Evaluation") -> str:
    """An evaluation as a person reads it."""
    n = len(evaluation.completions)
    lines = [
        f"exact match  {evaluation.exact_match} (95 % interval, n = {n})",
        f"trace valid  {evaluation.trace_valid}",
        f"format ok    {evaluation.format_ok}",
        _bands("by length", evaluation.by_length()),
        _bands("by depth", evaluation.by_depth()),
    ]
    if evaluation.first_errors:
        kinds = ", ".join(f"{kind} {count}" for kind, count in evaluation.first_errors.items())
        lines.append(f"first wrong step: {kinds}")
    if evaluation.near_ties:
        lines.append(f"{evaluation.near_ties} rows came near a tie and were decoded again alone")
    return "\n".join(lines)


def overlap_report(evaluation: "Evaluation", seen: set[str]) -> str:
    """How many of the problems were trained on, and the score on the others."""
    from dycktune.evaluation.metrics import Proportion

    unseen = [c.verdict.correct for c in evaluation.completions if c.problem.prefix not in seen]
    shared = len(evaluation.completions) - len(unseen)
    return (
        f"{shared} of these prefixes are in the training data; exact match on the other {len(unseen)}: "
        + str(Proportion(sum(unseen), len(unseen)))
    )


def _problems(
    data: Path | None, benchmark: Path | None, *, count: int, lengths: tuple[int, int], seed: int
) -> list[Problem]:
    if benchmark is not None:
        from dycktune.tasks.dyck.benchmark import read_benchmark

        return read_benchmark(benchmark)
    if data is not None:
        return _problems_of(data)
    from dycktune.data.corpus import Corpus, CorpusSpec

    low, high = lengths
    return list(Corpus(CorpusSpec(count=count, split="test", seed=seed, min_length=low, max_length=high)))


def _problems_of(data: Path) -> list[Problem]:
    from dycktune.data.rows import read_examples

    problems = []
    for example in read_examples(data):
        if example.prefix is None:
            raise DataError(
                f"{example.source}: the row has no problem.prefix; evaluate reads bracket problems"
            )
        problems.append(Problem(example.prefix))
    if not problems:
        raise DataError(f"{data} holds no rows; write some with: dycktune generate {data} --count 1000")
    return problems


def _seen(model: str, trained_on: Path | None) -> set[str] | None:
    """Prefixes the model was trained on, where that can be known."""
    if trained_on is not None:
        return {problem.prefix for problem in _problems_of(trained_on)}
    from dycktune.runs import RunFolder

    run = RunFolder(Path(model))
    if not run.config.is_file():
        return None
    from dycktune.training import recipe
    from dycktune.training.examples import train_examples

    prefixes = (example.prefix for example in train_examples(recipe.load(run.config)))
    return {prefix for prefix in prefixes if prefix is not None}


def _bands(title: str, shares: "dict[str, Proportion]") -> str:
    rows = [f"  {band:>9}  {share}  n = {share.n}" for band, share in shares.items()]
    return "\n".join([title, *rows])


def _progress(total: int) -> Callable[[int], None] | None:
    """Tell the progress on standard error where a person is watching."""
    if not sys.stderr.isatty():
        return None

    def told(done: int) -> None:
        print(f"\rdecoded {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return told
