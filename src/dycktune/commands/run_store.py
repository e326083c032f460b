"""A run that is kept in an object store: trained in a folder here, and copied there after each checkpoint."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from dycktune import ranks
from dycktune.checkpoints import SEAL, STATE
from dycktune.errors import RunError, StoreError
from dycktune.locks import one_process
from dycktune.remote import Store, StoredFile, is_remote, name_of, update
from dycktune.runs import RUNS, RunFolder, refuse_foreign

if TYPE_CHECKING:
    from dycktune.training.events import OnEvent

_ORDER = ("config.toml", "", SEAL, STATE)
"""The order in which files are copied, and the reverse of that in which they are removed; "" is every other file.

The recipe makes a folder a run, also if the copy is interrupted; its state makes a checkpoint complete.
"""


class _Stamp(NamedTuple):
    """Changes when a file does."""

    size: int
    mtime_ns: int


def folder_of(out: str) -> Path:
    """The folder that a run is trained in: `out`, or one of its name under `runs` for a URL."""
    return RUNS / name_of(out) if is_remote(out) else Path(out)


@contextmanager
def kept_in_store(out: str, *, resume: bool) -> "Iterator[OnEvent]":
    """Keep the run of the block in the store of `out`; nothing happens where `out` is a folder.

    Gives what is to be called with each event of the training. With `resume`, the run is first copied from the store,
    unless this machine has as much of it.

    Raises:
        RunError: the store holds a run already, or another one than the folder; or the folder holds other files, or is
            in use. Nothing is copied.
        StoreError: the store cannot be used, at the begin or at the end; in between there is a warning.
    """
    if not is_remote(out):
        yield lambda _: None
        return
    ranks.initialize()
    copier = _Copier(out)
    ranks.on_main(lambda: copier.begin(resume=resume))
    if not ranks.is_main():
        yield lambda _: None
        return
    try:
        yield copier.after_step
    except BaseException:
        # A training that was refused has no events, and its folder may hold another run.
        if copier.begun:
            copier.try_push()
        raise
    copier.push()
    print(f"copied:  {out}", file=sys.stderr)


class _Copier:
    """Copies what is new in a run folder to a store."""

    def __init__(self, url: str) -> None:
        self._store, self._run = Store(url), RunFolder(folder_of(url))
        self._sent: dict[str, _Stamp] = {}
        self._checkpoints: set[str] = set()
        self.begun = False
        """Whether the training has reported anything: from then on, the folder holds its run."""

    def begin(self, *, resume: bool) -> None:
        """Prepare the folder of the run, new or to be resumed."""
        store, run = self._store, self._run
        refuse_foreign(run.path)
        store.require_writable()
        if not store.has(run.config.name):
            return
        if not resume:
            raise RunError(
                f"{store.url} already holds a run; leave out --no-resume, or name another with --out"
            )
        run.path.mkdir(parents=True, exist_ok=True)
        with one_process(run.path):
            self._copy_here()

    def _copy_here(self) -> None:
        """Copy the run from the store, unless the folder has as much of it."""
        store, run = self._store, self._run
        files = store.files()
        _refuse_other(run, store, files)
        if not run.started or _newest(files) > run.saved_step:
            ordered = {name: files[name] for name in sorted(files, key=_place_in_order)}
            update(run.path, store, ordered, versions={})
            self._sent = self._stamps()

    def after_step(self, _: object) -> None:
        """Copy the run if it has another checkpoint than before. The step that follows it makes sure it is whole."""
        self.begun = True
        if {path.name for path in self._run.checkpoints_folder.glob("checkpoint-*")} != self._checkpoints:
            self.try_push()

    def try_push(self) -> None:
        """As `push`, with a warning in place of an error: the next copy catches up."""
        try:
            self.push()
        except StoreError as error:
            print(f"dycktune: not copied, {error}", file=sys.stderr)

    def push(self) -> None:
        """Copy what is new, and remove what is gone; a checkpoint in the store is complete or lacks its last file."""
        stamps = self._stamps()
        self._checkpoints = {path.name for path in self._run.checkpoints_folder.glob("checkpoint-*")}
        gone = self._sent.keys() - stamps.keys()
        for name in sorted(gone, key=_place_in_order, reverse=True):
            self._store.remove(name)
            del self._sent[name]
        for name in sorted(stamps, key=_place_in_order):
            if self._sent.get(name) != stamps[name]:
                self._store.put(self._run.path / name, name)
                self._sent[name] = stamps[name]

    def _stamps(self) -> dict[str, _Stamp]:
        """The files of the folder, without those that are still being written."""
        files = (path for path in self._run.path.rglob("*") if path.is_file())
        names = {path.relative_to(self._run.path): path.stat() for path in files}
        return {
            name.as_posix(): _Stamp(stat.st_size, stat.st_mtime_ns)
            for name, stat in names.items()
            if not any(part.startswith(".") for part in name.parts)
        }


def _place_in_order(name: str) -> tuple[int, int]:
    """When a file is copied: the larger, the later. A newer checkpoint is complete after the older ones."""
    last = PurePosixPath(name).name
    return _ORDER.index(last if last in _ORDER else ""), _step_of(name)


def _step_of(name: str) -> int:
    """The step of the checkpoint that a file belongs to; 0 for other files."""
    step = PurePosixPath(name).parent.name.removeprefix("checkpoint-")
    return int(step) if step.isdecimal() else 0


def _newest(files: Mapping[str, StoredFile]) -> int:
    """The step of the newest complete checkpoint in a store; 0 for none."""
    return max((_step_of(name) for name in files if PurePosixPath(name).name == STATE), default=0)


def _refuse_other(run: RunFolder, store: Store, files: Mapping[str, StoredFile]) -> None:
    """Refuse to put the run of the store in the place of another one."""
    if not run.config.is_file():
        return
    with TemporaryDirectory(prefix="dycktune-") as folder:
        stored = Path(folder) / run.config.name
        store.get(files[run.config.name], stored)
        if stored.read_bytes() != run.config.read_bytes():
            raise RunError(
                f"{run.path} and {store.url} hold different runs; move the folder away, and start again"
            )
