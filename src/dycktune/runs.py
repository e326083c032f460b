"""The run folder: its files, read and written.

JSON and JSONL files here keep NaN and infinities as the bare words `NaN` and `Infinity`, as transformers'
own `trainer_state.json` does: a run that diverged must not look like one with gaps.
"""

import json
import platform
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from dycktune.errors import RunError

RUNS = Path("runs")
"""Where runs are kept when no folder is named."""

_PACKAGES = ("dycktune", "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors")


class Checkpoint(NamedTuple):
    """A whole checkpoint of a run."""

    step: int
    path: Path


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run, and what is in its files."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved recipe, every field written out."""
        return self.path / "config.toml"

    @property
    def manifest(self) -> Path:
        """Versions, data hash, seed, git state."""
        return self.path / "manifest.json"

    @property
    def metrics(self) -> Path:
        """What the trainer logged, a line each."""
        return self.path / "metrics.jsonl"

    @property
    def guard(self) -> Path:
        """What the guard did, a line each; missing where it had nothing to do."""
        return self.path / "guard.jsonl"

    @property
    def checkpoints_folder(self) -> Path:
        """Holds `checkpoint-N/`."""
        return self.path / "checkpoints"

    @property
    def trainer_state(self) -> Path:
        """The Trainer's state with its log history, brought up to date at each evaluation."""
        return self.path / "trainer_state.json"

    @property
    def findings(self) -> Path:
        """The doctor's words."""
        return self.path / "findings.json"

    @property
    def scores(self) -> Path:
        """Verified answers by step, a line each."""
        return self.path / "scores.jsonl"

    @property
    def selection(self) -> Path:
        """Which checkpoint is deployed, with the evidence."""
        return self.path / "selection.json"

    @property
    def adapter(self) -> Path:
        """The selected checkpoint's adapter."""
        return self.path / "adapter"

    @property
    def merged(self) -> Path:
        """Base and selected adapter as one model."""
        return self.path / "merged"

    @property
    def plot(self) -> Path:
        """The loss curves with the findings marked."""
        return self.path / "loss.png"

    @property
    def report(self) -> Path:
        """The page people look at."""
        return self.path / "report.html"

    def checkpoints(self) -> list[Checkpoint]:
        """Whole checkpoints by step; one that was being written when the run was killed is left out."""
        found = []
        for folder in self.checkpoints_folder.glob("checkpoint-*"):
            step = folder.name.removeprefix("checkpoint-")
            if step.isdecimal() and _is_json(folder / "trainer_state.json"):
                found.append(Checkpoint(int(step), folder))
        return sorted(found)

    @property
    def started(self) -> bool:
        """Whether anything was logged or saved."""
        return bool(self.checkpoints()) or any(True for _ in self.read_metrics())

    @property
    def finished(self) -> bool:
        """Whether training reached its last step and saved it."""
        checkpoints = self.checkpoints()
        if not checkpoints:
            return False
        state = read_json(checkpoints[-1].path / "trainer_state.json")
        return state["global_step"] >= state["max_steps"]

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """The logged rows; a last line that was cut off by a kill is left out."""
        return _read_lines(self.metrics)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one logged row."""
        _append_line(self.metrics, row)

    def read_scores(self) -> dict[int, dict[str, Any]]:
        """The answers each step was scored by; of two scores of a step the later."""
        return {row["step"]: row for row in _read_lines(self.scores)}

    def append_score(self, row: Mapping[str, Any]) -> None:
        """Add the score of a step."""
        _append_line(self.scores, row)

    def write_scores(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put these scores in the place of all others, atomically."""
        _write_lines(self.scores, rows)

    def append_guard_event(self, row: Mapping[str, Any]) -> None:
        """Add something the guard did."""
        _append_line(self.guard, row)

    def rewind(self, step: int) -> None:
        """Forget what was logged, scored or half saved after `step`, where a resumed run goes on from."""
        for file in filter(Path.is_file, (self.metrics, self.scores, self.guard)):
            _write_lines(file, [row for row in _read_lines(file) if row.get("step", 0) <= step])
        kept = {checkpoint.path for checkpoint in self.checkpoints()}
        for folder in set(self.checkpoints_folder.glob("checkpoint-*")) - kept:
            shutil.rmtree(folder)


def _read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file that may not exist; a last line that was cut off by a kill is left out."""
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _append_line(file: Path, row: Mapping[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(_line(row))


def _write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(file, "".join(map(_line, rows)))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(dict(row)) + "\n"


def begin(path: Path, config_toml: str, *, resume: bool, defaults_toml: str = "") -> RunFolder:
    """Make a run folder, or open one that is to be gone on with.

    A folder whose run failed before its first step is made anew. Fields that an older run's configuration lacks are
    those of `defaults_toml`.

    Raises:
        RunError: the folder is in use and `resume` is False, or its run had another configuration.
    """
    run = RunFolder(path)
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; name a folder for the run")
    if path.is_dir() and any(path.iterdir()) and not run.config.is_file():
        raise RunError(f"{path} holds files that are not a run's; name another folder with --out")
    if run.started and not resume:
        raise RunError(f"{path} already holds a run; go on with it by --resume, or name another with --out")
    if run.started:
        _refuse_other_config(run, config_toml, defaults_toml)
        return run
    run.checkpoints_folder.mkdir(parents=True, exist_ok=True)
    write_text(run.config, config_toml)
    return run


def newest_selected(root: Path = RUNS) -> RunFolder | None:
    """The run under `root` whose checkpoint was selected last, or None."""
    chosen = [folder for folder in root.glob("*/selection.json") if (folder.parent / "merged").is_dir()]
    if not chosen:
        return None
    return RunFolder(max(chosen, key=lambda file: file.stat().st_mtime_ns).parent)


def provenance() -> dict[str, Any]:
    """Versions of what ran and the state of this program's own repository, for the manifest."""
    return {"python": platform.python_version(), "versions": _versions(), "git": _git_state()}


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises RunError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}; name a run folder") from error
    except ValueError as error:
        raise RunError(
            f"{path} is not JSON ({error}); it may have been cut off, run the stage again"
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON, atomically; NaN is written as `NaN`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place, then rename it, so that no reader sees half of it."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _refuse_other_config(run: RunFolder, config_toml: str, defaults_toml: str) -> None:
    texts = (defaults_toml, run.config.read_text(encoding="utf-8"), config_toml)
    defaults, stored, new = (_flat(tomllib.loads(text)) for text in texts)
    old = defaults | stored
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if changed:
        said = ", ".join(f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in changed)
        raise RunError(f"{run.path} was started with another configuration: {said}; resume with the same one")


def _flat(sections: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{field}": value for section, fields in sections.items() for field, value in fields.items()
    }


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_state() -> dict[str, Any] | None:
    """Commit and cleanliness of the repository this file is tracked in, None where it is in none."""
    folder, name = Path(__file__).parent, Path(__file__).name
    if _git(folder, "ls-files", "--error-unmatch", name) is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": _git(folder, "rev-parse", "HEAD"), "changed": bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
