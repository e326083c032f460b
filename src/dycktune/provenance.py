"""Which software made a run: versions and the state of this program's own repository."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from typing_extensions import TypedDict

_PACKAGES = ("dycktune", "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors")


class GitState(TypedDict):
    """The repository that this file is tracked in."""

    commit: str | None
    """None before the first commit."""
    changed: bool
    """Whether a tracked file differs from the commit."""


class Provenance(TypedDict):
    """The software part of a run's manifest."""

    python: str
    versions: dict[str, str]
    """Of each package that is installed."""
    git: GitState | None
    """None where this file is in no repository."""


def provenance() -> Provenance:
    """Versions of the software that runs now, and the state of this program's own repository."""
    return {"python": platform.python_version(), "versions": _versions(), "git": _git_state()}


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git_state() -> GitState | None:
    folder, name = Path(__file__).parent, Path(__file__).name
    if _git(folder, "ls-files", "--error-unmatch", name) is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": _git(folder, "rev-parse", "HEAD"), "changed": bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
