"""`dycktune train`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dycktune import ranks
from dycktune.commands.overrides import Overrides, override_texts
from dycktune.commands.select import select
from dycktune.runs import RUNS

if TYPE_CHECKING:
    from dycktune.training.run import Beginning


def train(
    config: Path,
    /,
    *,
    out: Path | None = None,
    no_select: Annotated[bool, Parameter(negative=())] = False,
    resume: Annotated[bool, Parameter(negative=())] = False,
    overrides: Annotated[Overrides | None, Parameter(name="*")] = None,  # pyright: ignore[reportInvalidTypeForm]
) -> int:
    """Fine-tune a base with LoRA as a recipe says, then diagnose, select and merge.

    Every field of the recipe is an option as well; `--loss.answer-weight 3` overrides the file. Exit status 0
    for a healthy run, 1 for any other. For many devices: torchrun -m dycktune train ...

    Parameters
    ----------
    config
        The recipe, a TOML file.
    out
        The run folder; runs/ and the recipe's name if left out.
    no_select
        Stop after the diagnosis, without scoring the checkpoints and merging the best.
    resume
        Continue a stopped run; the result is that of an uninterrupted run.
    """
    from dycktune.training import recipe

    run = out or RUNS / config.stem
    chosen = recipe.load(config, override_texts(overrides) if overrides else {})
    # Imported late: loading torch takes seconds, and errors of the recipe should come at once.
    from dycktune.training.run import train as run_training

    run_training(chosen, run, resume=resume, on_log=show_metrics, on_begin=_show_examples)
    status = ranks.on_main(lambda: _diagnosed(run))
    if not no_select:
        select(run)
    return status


def _show_examples(beginning: "Beginning") -> None:
    """Print a line about each data file."""
    data, examples = beginning.config.data, beginning.examples
    if data.train is None:
        return
    from dycktune.data.summary import summary

    print(f"{data.train}: {summary(examples.train, turns=data.turns)}")
    print(f"{data.eval}: {summary(examples.eval, turns=data.turns)}", flush=True)


def _diagnosed(run: Path) -> int:
    from dycktune.commands.diagnose import diagnose

    print(f"\ntrained: {run}\n")
    status = diagnose(run)
    print(flush=True)
    return status


def show_metrics(row: Mapping[str, Any]) -> None:
    """Print one logged row of a run as a line; rows without a loss are not shown."""
    step = f"step {row['step']:>{len(str(row['max_steps']))}}/{row['max_steps']}"
    if "loss" in row:
        print(f"{step}  loss {_parts(row, '')}  lr {row['learning_rate']:.1e}", flush=True)
    if "eval_loss" in row:
        print(f"{step}  eval {_parts(row, 'eval_')}{_answers(row)}", flush=True)


def _answers(row: Mapping[str, Any]) -> str:
    """The exact match of an evaluation, and its time beside that of the training before it."""
    if "eval_exact_match" not in row:
        return ""
    times = f"{row['eval_answers_seconds']:.0f} s, training {row['eval_training_seconds']:.0f} s"
    return f"  exact match {row['eval_exact_match']:.3f} ({times})"


def _parts(row: Mapping[str, Any], prefix: str) -> str:
    # A loss falls over five orders of magnitude, so it needs significant digits; a share does not.
    names = (
        ("reasoning", "loss_reasoning", "#.3g"),
        ("answer", "loss_answer", "#.3g"),
        ("answer tokens right", "accuracy_answer", ".4f"),
    )
    shown = [f"{name} {row[prefix + key]:{digits}}" for name, key, digits in names if prefix + key in row]
    return f"{row[prefix + 'loss']:#.3g}" + (f" ({', '.join(shown)})" if shown else "")
