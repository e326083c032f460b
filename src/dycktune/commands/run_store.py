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
from dycktune.remote import Store, StoredFile, is_remote, name_of, update
from dycktune.runs import RUNS, RunFolder

if TYPE_CHECKING:
    from dycktune.training.events import OnEvent

_LAST = (STATE, SEAL)
"""The files that make a checkpoint complete: they are copied last, and removed first."""


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
        RunError: the store holds a run already, or another one than the folder.
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

    def begin(self, *, resume: bool) -> None:
        """Prepare the folder of the run, new or to be resumed."""
        store, run = self._store, self._run
        store.require_writable()
        if not store.has("config.toml"):
            return
        if not resume:
            raise RunError(
                f"{store.url} already holds a run; leave out --no-resume, or name another with --out"
            )
        files = store.files()
        _refuse_other(run, store, files)
        if not run.started or _newest(files) > run.saved_step:
            update(run.path, store, files, versions={})
            self._sent = self._stamps()

    def after_step(self, _: object) -> None:
        """Copy the run if it has another checkpoint than before. The step that follows it makes sure it is whole."""
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


def _place_in_order(name: str) -> int:
    """When a file is copied: the larger, the later."""
    last = PurePosixPath(name).name
    return _LAST.index(last) + 1 if last in _LAST else 0


def _newest(files: Mapping[str, StoredFile]) -> int:
    """The step of the newest complete checkpoint in a store; 0 for none."""
    states = (place for place in map(PurePosixPath, files) if place.name == STATE)
    folders = (place.parent.name for place in states)
    steps = (folder.removeprefix("checkpoint-") for folder in folders)
    return max((int(step) for step in steps if step.isdecimal()), default=0)


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
