"""Every command on a disk that is too small, then on the same disk made larger: its results must be the usual ones.

Usage: full_disk.py [--disks 20] [--seed 0] [--only train,select,...]

The disk is a file system in memory (tmpfs) of a size between that of the command's input and what the command needs,
in a mount namespace of this program's own, so that no rights are needed where the system allows such namespaces.

A command that does not fit must end with status 2 and one line, without a traceback. What it leaves under a final name
must be whole. The disk is then made larger, and the same command again must give the bytes of one that had room.
Prints a Markdown table; status 1 if anything differs.
"""

import argparse
import gc
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from torch import set_num_threads

from reliability import (
    COMMANDS,
    Command,
    Reference,
    differences,
    end_of,
    finish,
    half_written,
    printed_by,
    refer,
)

INSIDE = "DYCKTUNE_FULL_DISK"
"""Set in the process that has mounts of its own."""
PAGE = 4096
ROOM = 2**18
"""Pages of the disk that is large enough."""


class Trial(NamedTuple):
    """A command on a small disk, and again on a large one."""

    fitted: bool
    said: list[str]
    """Its messages on the small one."""
    faults: list[str]


def pages(folder: Path) -> int:
    """What a folder takes on a file system in memory: whole pages for each file."""
    return sum(max(1, math.ceil(path.lstat().st_size / PAGE)) for path in [folder, *folder.rglob("*")])


@contextmanager
def disk(place: Path, size: int) -> Iterator[None]:
    """A file system of so many pages."""
    place.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={size * PAGE}", "tmpfs", str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def mount(*arguments: str) -> None:
    """Mount, or change what is mounted."""
    subprocess.run(["mount", *arguments], check=True)


def messages(place: Path) -> list[str]:
    """The lines of the program's errors, and the beginnings of tracebacks."""
    lines = printed_by(place).read_text().splitlines()
    return [line for line in lines if line.startswith(("dycktune: ", "Traceback"))]


def try_disk(
    command: Command, place: Path, size: int, reference: Reference, needed: Reference | None
) -> Trial:
    """Run a command on a disk of so many pages, and again on a larger one."""
    printed_by(place).unlink(missing_ok=True)
    with disk(place, size):
        if needed is not None:
            shutil.copytree(needed.folder, place, dirs_exist_ok=True)
        status = end_of(command, place)
        said = messages(place)
        faults = list(half_written(place, reference))
        if status in (0, 1):
            faults += differences(command, place, reference)
        elif status != 2:
            printed = printed_by(place).read_text().strip().splitlines()
            faults.append(f"status {status}: {printed[-1] if printed else 'nothing printed'}")
        if status == 2 and len(said) != 1:
            faults.append(f"{len(said)} messages: {said}")
        mount("-o", f"remount,size={ROOM * PAGE}", str(place))
        finish(command, place)
        faults += differences(command, place, reference)
    return Trial(fitted=status != 2, said=said, faults=faults)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--disks", type=int, default=20, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(COMMANDS))
    options = parser.parse_args()
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])  # noqa: S606
    set_num_threads(1)
    gc.freeze()
    draw, references, faults = random.Random(options.seed), dict[str, Reference](), 0
    print("| command | disks | did not fit | faults |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, command in COMMANDS.items():
            needed = references.get(command.needs or "")
            references[name] = reference = refer(command, Path(folder) / f"whole-{name}", needed)
            if name not in options.only.split(","):
                continue
            least = pages(needed.folder) if needed else 1
            sizes = [draw.randint(least, pages(reference.folder)) for _ in range(options.disks)]
            trials = [try_disk(command, Path(folder) / "disk", size, reference, needed) for size in sizes]
            found = [fault for trial in trials for fault in trial.faults]
            print(
                f"| {name} | {len(trials)} | {sum(not t.fitted for t in trials)} | {len(found)} |", flush=True
            )
            for line in sorted({line for trial in trials for line in trial.said}) + found:
                print(f"{name}: {line}", file=sys.stderr, flush=True)
            faults += len(found)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
