"""SIGKILL at random moments of every command, then the same command again: its results must be the uninterrupted ones.

Usage: reliability.py [--kills 100] [--seed 0] [--only train,select,...] [--keep FOLDER]

Each command is run once in full. Then, for each kill, it starts in an empty copy of its input and is killed: half of
the kills fall uniformly on its running time, the other half inside a stage (a training step, a save, an evaluation, a
write) at a random call of it. What a killed command left under a final name must be whole. The same command again must
give the bytes of the uninterrupted one, without a file too many; clock times in logs are not compared.

A kill hits a process that was forked from this one, where the imports are done already, so that 100 kills do not cost
100 starts of torch; nothing else is shared. Prints a Markdown table; status 1 if any result differs.
"""

import argparse
import gc
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import transformers  # noqa: F401 - imported before any fork
from torch import set_num_threads

from dycktune import cli, files
from dycktune.checkpoints import checkpoints_in, damage, is_complete
from dycktune.data import files as data_files
from dycktune.runs import RunFolder
from dycktune.selection import choose
from dycktune.training.trainer import WeightedLossTrainer

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.toml"
SMALL = {
    "data.count": 40,
    "data.eval-count": 8,
    "data.seed": 5,
    "task.max-length": 6,
    "optim.max-steps": 6,
    "optim.accumulation": 1,
    "eval.steps": 2,
    "eval.exact-match": 2,
    "eval.log-steps": 1,
    "save.steps": 2,
    "select.count": 3,
}
TRAIN = ["train", str(RECIPE), "--out", "run", "--no-select", "--quiet"] + [
    part for name, value in SMALL.items() for part in (f"--{name}", str(value))
]
CLOCK = ("runtime", "per_second", "seconds", "train_loss", "total_flos")
"""Ends of the names of figures that the clock makes, or one start of the program alone."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that is killed, and the input it needs."""

    arguments: Sequence[str]
    needs: str | None = None
    """The command whose results are its input."""
    results: Sequence[str]
    """Files and folders it makes or changes; they are compared byte by byte."""


COMMANDS = {
    "generate": Command(
        arguments=["generate", "data.jsonl", "--count", "4000", "--max-length", "30", "--quiet"],
        results=["data.jsonl", "data.jsonl.manifest.json"],
    ),
    "train": Command(arguments=TRAIN, results=["run"]),
    "select": Command(arguments=["select", "run", "--quiet"], needs="train", results=["run"]),
    "merge": Command(
        arguments=["merge", "run/checkpoints/checkpoint-6", "--out", "merged", "--quiet"],
        needs="train",
        results=["merged"],
    ),
    "export": Command(
        arguments=["export", "run", "--gguf", "f32", "--out", "model.gguf"],
        needs="select",
        results=["model.gguf"],
    ),
    "report": Command(arguments=["report", "run"], needs="select", results=["run/report.html"]),
}

WHOLE_OR_ABSENT = (
    "data.jsonl",
    "merged/model.safetensors",
    "run/config.toml",
    "run/merged/model.safetensors",
    "run/report.html",
    "model.gguf",
)
"""Files of the results that a killed command must not leave with other bytes."""

STAGES = (
    ("a training step", WeightedLossTrainer, "training_step"),
    ("an evaluation", WeightedLossTrainer, "evaluation_loop"),
    ("a save", WeightedLossTrainer, "_save_checkpoint"),
    ("a write of JSON or text", files, "write_text"),
    ("a write of data", data_files, "write_batches"),
    ("writing the models", choose, "_write_models"),
)
"""Stages that a kill can aim at: name, owner and function."""


class Progress:
    """Memory shared with the killed process: the current stage, and the number of calls of each."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 4 * (1 + len(STAGES)))

    def reset(self) -> None:
        """Begin a process."""
        self._shared[:] = struct.pack("i", -1) + bytes(4 * len(STAGES))

    @property
    def stage(self) -> int:
        """The stage that runs now; -1 outside of all."""
        return struct.unpack_from("i", self._shared)[0]

    def calls(self, stage: int) -> int:
        """Calls of a stage that have begun."""
        return struct.unpack_from("i", self._shared, 4 * (1 + stage))[0]

    def watch(self) -> None:
        """Wrap the stages, in the process that is killed."""
        for number, (_, owner, name) in enumerate(STAGES):
            setattr(owner, name, self._watched(number, getattr(owner, name)))

    def _watched(self, number: int, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            outer = self.stage
            struct.pack_into("i", self._shared, 0, number)
            struct.pack_into("i", self._shared, 4 * (1 + number), self.calls(number) + 1)
            result = function(*args, **kwargs)
            struct.pack_into("i", self._shared, 0, outer)
            return result

        return wrapped


PROGRESS = Progress()


@dataclass(kw_only=True)
class Reference:
    """The uninterrupted command."""

    folder: Path
    seconds: float
    calls: list[int]
    """Of each stage."""
    content: Mapping[str, bytes]


@dataclass(kw_only=True)
class Outcome:
    """The kills of one command."""

    kills: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def start(command: Command, folder: Path) -> int:
    """Run a command in a forked process, in its own session and folder; returns its number."""
    PROGRESS.reset()
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        os.setsid()
        os.chdir(folder)
        output = os.open(printed_by(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        PROGRESS.watch()
        status = cli.main(list(command.arguments))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(status)


def printed_by(folder: Path) -> Path:
    """What the commands in a folder print; it lies beside the folder, whose disk may be full."""
    return folder.with_name(f"{folder.name}-printed.txt")


def end_of(command: Command, folder: Path) -> int:
    """Run a command to its end; returns its exit status."""
    _, status = os.waitpid(start(command, folder), 0)
    return os.waitstatus_to_exitcode(status)


def finish(command: Command, folder: Path) -> float:
    """Run a command to its end, which must be a good one; returns its seconds."""
    began = time.perf_counter()
    if end_of(command, folder) not in (0, 1):
        raise RuntimeError(f"{command.arguments[0]} failed: {printed_by(folder).read_text()[-2000:]}")
    return time.perf_counter() - began


def kill(command: Command, folder: Path, reference: Reference, draw: random.Random) -> int | None:
    """Start a command and kill it at a random moment. Returns its stage then, or None if it had ended before."""
    reached = [stage for stage, calls in enumerate(reference.calls) if calls]
    stage = draw.choice(reached) if reached and draw.random() < 0.5 else None
    call = draw.randint(1, reference.calls[stage]) if stage is not None else 0
    delay = draw.random() * (reference.seconds if stage is None else reference.seconds / 50)
    child = start(command, folder)
    while stage is not None and PROGRESS.calls(stage) < call and _runs(child):
        time.sleep(0.001)
    end = time.monotonic() + delay
    while time.monotonic() < end and _runs(child):
        time.sleep(0.001)
    if not _runs(child):
        os.waitpid(child, 0)
        return None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return PROGRESS.stage


def _runs(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def content(command: Command, folder: Path) -> dict[str, bytes]:
    """The results by path, without the times of the clock."""
    found = {}
    for result in command.results:
        root = folder / result
        for path in sorted([root, *root.rglob("*")] if root.is_dir() else [root] if root.exists() else []):
            name = str(path.relative_to(folder))
            found[name] = _without_clock(path) if path.is_file() else b""
    return found


def _without_clock(path: Path) -> bytes:
    if path.name == "SHA256SUMS":
        # It holds the hash of trainer_state.json, which holds times of the clock.
        return b"\n".join(line for line in path.read_bytes().split(b"\n") if b"trainer_state" not in line)
    if path.suffix == ".jsonl" and path.name == "metrics.jsonl":
        return "\n".join(json.dumps(_timeless(json.loads(line))) for line in path.open()).encode()
    if path.name == "trainer_state.json":
        return json.dumps(_timeless(json.loads(path.read_text()))).encode()
    return path.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(part) for key, part in value.items() if not key.endswith(CLOCK)}
    return [_timeless(part) for part in value] if isinstance(value, list) else value


def half_written(folder: Path, reference: Reference) -> Iterator[str]:
    """Files that a killed command left under their final names and that are not whole."""
    run = RunFolder(folder / "run")
    for place in (run.checkpoints_folder, run.stopped_folder):
        for found in checkpoints_in(place):
            if is_complete(found.path) and (fault := damage(found.path)):
                yield f"{found.path.name} is taken for whole: {fault}"
    for name in ("manifest.json", "selection.json", "findings.json"):
        path = folder / "run" / name
        if path.is_file() and not _is_json(path):
            yield f"{name} is half written"
    for name in WHOLE_OR_ABSENT:
        path = folder / name
        if name in reference.content and path.is_file() and path.read_bytes() != reference.content[name]:
            yield f"{name} is half written"


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def differences(command: Command, folder: Path, reference: Reference) -> Iterator[str]:
    """Results that are not those of the uninterrupted command."""
    found = content(command, folder)
    for name in sorted(found.keys() | reference.content.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in reference.content:
            yield f"{name} is left over"
        elif found[name] != reference.content[name]:
            yield f"{name} differs"
    yield from (f"{path.name} is left over" for path in folder.glob(".*.partial"))


def refer(command: Command, folder: Path, needed: Reference | None) -> Reference:
    """Run a command once in full."""
    prepare(folder, needed)
    seconds = finish(command, folder)
    calls = [PROGRESS.calls(stage) for stage in range(len(STAGES))]
    return Reference(folder=folder, seconds=seconds, calls=calls, content=content(command, folder))


def prepare(folder: Path, needed: Reference | None) -> None:
    """Make the folder of a command, with its input."""
    shutil.rmtree(folder, ignore_errors=True)
    printed_by(folder).unlink(missing_ok=True)
    if needed is None:
        folder.mkdir(parents=True)
    else:
        shutil.copytree(needed.folder, folder)


def try_often(
    command: Command, place: Path, reference: Reference, needed: Reference | None, *, kills: int, seed: int
) -> Outcome:
    """Kill a command often, and compare its results after the same command again."""
    outcome, draw = Outcome(), random.Random(seed)
    while outcome.kills < kills:
        folder = place / "trial"
        prepare(folder, needed)
        stage = kill(command, folder, reference, draw)
        if stage is None:
            continue
        outcome.kills += 1
        outcome.stages[STAGES[stage][0] if stage >= 0 else "elsewhere"] += 1
        faults = list(half_written(folder, reference))
        finish(command, folder)
        faults += differences(command, folder, reference)
        outcome.faults += [f"kill {outcome.kills}: {fault}" for fault in faults]
        if faults:
            kept = place / f"fault-{command.arguments[0]}-{outcome.kills}"
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            shutil.copy(printed_by(folder), printed_by(kept))
    return outcome


@contextmanager
def working_folder(keep: Path | None) -> Iterator[Path]:
    """Where the commands run."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()  # commands run in folders of their own
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(COMMANDS))
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    set_num_threads(1)
    gc.freeze()
    references: dict[str, Reference] = {}
    faults = 0
    print(
        "| command | seconds alone | kills | inside | results that differ |\n|---|---|---|---|---|",
        flush=True,
    )
    with working_folder(options.keep) as place:
        for name, command in COMMANDS.items():
            needed = references.get(command.needs or "")
            references[name] = reference = refer(command, place / f"whole-{name}", needed)
            if name not in options.only.split(","):
                continue
            outcome = try_often(command, place, reference, needed, kills=options.kills, seed=options.seed)
            inside = ", ".join(f"{stage} {count}" for stage, count in sorted(outcome.stages.items()))
            print(
                f"| {name} | {reference.seconds:.1f} | {outcome.kills} | {inside} | {len(outcome.faults)} |",
                flush=True,
            )
            for fault in outcome.faults[:20]:
                print(f"{name}: {fault}", file=sys.stderr, flush=True)
            faults += len(outcome.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
