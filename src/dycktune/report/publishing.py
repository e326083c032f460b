"""A model as a folder for the Hub, and its upload."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] - of the client that the library has chosen
    LocalTokenNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from dycktune.errors import ConfigError, ModelError, RunError
from dycktune.files import replacing
from dycktune.models.card import CARD_NAME, ModelCard
from dycktune.report.model_card import on_hub, public_name, readme
from dycktune.report.subject import read_subject
from dycktune.runs import RunFolder

README = "README.md"
_WEIGHTS = ".safetensors"
_PUBLISHED = (_WEIGHTS, ".json", ".jinja", ".txt", ".model")
"""Endings of the files of a model; anything else in its folder stays on this machine."""


class StagedFile(NamedTuple):
    """A file that is uploaded."""

    name: str
    size: int
    """Bytes."""


def stage(run: Path, repo: str, out: Path, *, adapter: bool = False) -> list[StagedFile]:
    """Write the folder that is uploaded: the model's files and its README.md. Returns its files by name.

    Args:
        run: A run whose checkpoint was selected.
        repo: Hub id of the model, which the README names.
        out: The folder; replaced whole if it is one of an earlier call.
        adapter: Whether the adapter is published, not the merged model.

    Raises:
        ConfigError: `repo` is no Hub id, or `out` holds other files.
        ModelError: others could not load the adapter, because its base is not on the Hub.
        RunError: the run has no selected model.
    """
    _check_repo(repo)
    source, card = _model_of(run, adapter=adapter)
    _refuse_to_replace(out)
    text = readme(read_subject(run), card, repo, adapter=adapter)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as partial:
            partial.mkdir()
            for file in sorted(source.iterdir()):
                if file.suffix in _PUBLISHED and file.name != CARD_NAME:
                    _place(file, partial / file.name)
            replace(card, base=public_name(card.base)).write(partial)
            (partial / README).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror}; name another folder with --out"
        ) from error
    return [StagedFile(file.name, file.stat().st_size) for file in sorted(out.iterdir())]


def upload(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload a staged folder as one commit, into a repository that is made if there is none. Returns its address.

    The Hub's own library finds the token: `hf auth login`, or the environment variable HF_TOKEN.

    Raises:
        ModelError: there is no token, the Hub refuses, or it cannot be reached.
    """
    api = HfApi(library_name="dycktune")
    return _translated(lambda: _upload(api, folder, repo, private=private), repo)


def _upload(api: HfApi, folder: Path, repo: str, *, private: bool) -> str:
    # An existing repository keeps its visibility, and `private` asks for one that nobody else sees.
    address = api.create_repo(repo, private=private, exist_ok=True)
    if private and not api.repo_info(repo).private:
        raise ModelError(f"{repo} is public already; make it private on the Hub, or name another repository")
    api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload with dycktune push")
    return str(address)


def _translated(work: Callable[[], str], repo: str) -> str:
    """The result of `work`; errors of the Hub's library in one line."""
    try:
        return work()
    except LocalTokenNotFoundError as error:
        raise ModelError(_LOGIN) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise ModelError(_LOGIN) from error
        reason = error.server_message or f"status {status}"
        raise ModelError(f"the Hub refuses {repo}: {reason}") from error
    except (HTTPError, OSError, TimeoutError) as error:
        raise ModelError(f"the Hub cannot be reached: {error}; --dry-run works without it") from error


_LOGIN = "the Hub does not know who you are; run: hf auth login (or set HF_TOKEN to a token that may write)"


def _check_repo(repo: str) -> None:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"{repo!r} is no name on the Hub; write OWNER/NAME") from error
    if "/" not in repo:
        raise ConfigError(f"{repo!r} names no owner; write OWNER/{repo}")


class _Model(NamedTuple):
    """The files to publish."""

    folder: Path
    card: ModelCard


def _model_of(run: Path, *, adapter: bool) -> _Model:
    place = RunFolder(run)
    folder = place.adapter if adapter else place.merged
    if not place.config.is_file():
        raise RunError(f"{run} is no run folder; name one, such as runs/quickstart")
    card = ModelCard.read(folder)
    if card is None:
        raise RunError(f"run {run} has no {folder.name} model yet; make one with: dycktune select {run}")
    if adapter and not on_hub(card.base):
        raise ModelError(
            f"the adapter's base, {card.base}, is not on the Hub, so nobody else could load the adapter; push the "
            "merged model, without --adapter"
        )
    return _Model(folder, card)


def _refuse_to_replace(out: Path) -> None:
    if out.is_file():
        raise ConfigError(f"{out} is a file; name a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not ((out / README).is_file() and ModelCard.read(out)):
        raise ConfigError(f"{out} holds other files; name another folder with --out")


def _place(file: Path, target: Path) -> None:
    """A link for weights, which nobody edits by hand, where the disk allows it; else a copy."""
    if file.suffix == _WEIGHTS:
        try:
            os.link(file, target)
        except OSError:
            pass
        else:
            return
    shutil.copyfile(file, target)
