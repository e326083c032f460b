"""`dycktune train`."""

import json as jsonlib
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dycktune import ranks
from dycktune.commands.overrides import Overrides, override_texts
from dycktune.commands.run_store import folder_of, kept_in_store
from dycktune.commands.select import select
from dycktune.console.terminal import Json, Quiet, hint_on_interrupt, only_result
from dycktune.files import read_json
from dycktune.runs import RUNS, RunFolder

if TYPE_CHECKING:
    from dycktune.outputs import TrainOutput
    from dycktune.training.events import Event, OnEvent
    from dycktune.training.run import Beginning


def train(
    config: Path,
    /,
    *,
    out: str | None = None,
    no_select: Annotated[bool, Parameter(negative=())] = False,
    resume: bool = True,
    json: Json = False,
    quiet: Quiet = False,
    overrides: Annotated[Overrides | None, Parameter(name="*")] = None,  # pyright: ignore[reportInvalidTypeForm]
) -> int:
    """Fine-tune a base with LoRA as a recipe says, then diagnose, select and merge.

    The same command again goes on with a run that was interrupted, and ends with the weights of an uninterrupted run.
    Every field of the recipe is an option as well, shown below with its default, and wins over the file. Exit status 0
    for a healthy run, 1 for any other. For many devices: torchrun -m dycktune train ...

    Example: dycktune train recipes/quickstart.toml --out runs/mine --optim.seed 1

    Parameters
    ----------
    config
        The recipe, a TOML file.
    out
        The run folder; runs/ and the recipe's name if left out. With s3://..., the run is trained in runs/ and copied
        there after each checkpoint and at the end; the same command goes on from there on any machine.
    no_select
        Stop after the diagnosis, without scoring the checkpoints and merging the best.
    resume
        Go on with an earlier run of the same recipe in the folder; --no-resume refuses a folder that holds a run.
    """
    from dycktune.training import recipe

    place = out or str(RUNS / config.stem)
    run = folder_of(place)
    chosen = recipe.load(config, override_texts(overrides) if overrides else {})
    # Imported late: loading torch takes seconds, and errors of the recipe should come at once.
    from dycktune.console.training import watching
    from dycktune.training.run import train as run_training

    with (
        only_result(json),
        hint_on_interrupt(lambda: how_to_go_on(run, out=place)),
        kept_in_store(place, resume=resume) as after_step,
    ):
        earlier = list(RunFolder(run).read_metrics())
        with watching(evaluation_steps=chosen.eval.steps, earlier=earlier, quiet=quiet) as view:
            run_training(
                chosen,
                run,
                resume=resume,
                on_log=view.on_log,
                on_event=_each(view.on_event, after_step),
                on_begin=partial(_show_beginning, run),
            )
        status = ranks.on_main(lambda: _diagnosed(run))
        if not no_select:
            select(run, quiet=quiet)
    if json and ranks.is_main():
        print(jsonlib.dumps(_output(run), ensure_ascii=False))
    return status


def _each(*callbacks: "OnEvent") -> "OnEvent":
    def call(event: "Event") -> None:
        for callback in callbacks:
            callback(event)

    return call


def how_to_go_on(path: Path, *, out: str | None = None) -> str:
    """How a training that was interrupted is continued; its own recipe holds what the command line overrode."""
    run = RunFolder(path)
    if not run.config.is_file() or not run.started:
        return "nothing was trained yet; start again with the same command"
    last = max((row["step"] for row in run.read_metrics()), default=0)
    command = shlex.join(["dycktune", "train", str(run.config), "--out", out or str(path)])
    return f"the log reaches step {last}, the newest checkpoint step {run.saved_step}; go on with: {command}"


def _show_beginning(run: Path, beginning: "Beginning") -> None:
    """Print the data and the plan of a run, before its first step."""
    from dycktune.planning.plan import plan_of
    from dycktune.planning.text import short_text

    _show_examples(beginning)
    print(short_text(plan_of(beginning, run)), flush=True)


def _show_examples(beginning: "Beginning") -> None:
    """Print a line about each data file."""
    data, examples = beginning.config.data, beginning.examples
    if data.train is None:
        return
    from dycktune.data.summary import summary

    skipped = examples.skipped
    print(f"{data.train}: {summary(examples.train, turns=data.turns, skipped=skipped.get('train'))}")
    print(f"{data.eval}: {summary(examples.eval, turns=data.turns, skipped=skipped.get('eval'))}", flush=True)


def _output(path: Path) -> "TrainOutput":
    run = RunFolder(path)
    return {
        "run": str(path),
        "diagnosis": read_json(run.findings),
        "selection": run.read_selection() if run.selection.is_file() else None,
    }


def _diagnosed(run: Path) -> int:
    from dycktune.commands.diagnose import diagnose

    print(f"\ntrained: {run}\n")
    status = diagnose(run)
    print(flush=True)
    return status
