"""`dycktune push`."""

import json as jsonlib
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dycktune.console.terminal import Json

if TYPE_CHECKING:
    from dycktune.outputs import PushOutput
    from dycktune.report.publishing import StagedFile


def push(
    run: Path,
    repo: str,
    *,
    adapter: Annotated[bool, Parameter(negative="")] = False,
    private: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    json: Json = False,
) -> None:
    """Upload the merged model of a run to the Hugging Face Hub, with a model card written from the run's evidence.

    The card names data, settings, the doctor's verdict, exact match with intervals by group, limits, and how to call
    the model. The Hub's own library finds your token (hf auth login, or HF_TOKEN).

    Example: dycktune push runs/quickstart me/brackets --dry-run

    Parameters
    ----------
    run
        A run whose checkpoint was selected.
    repo
        The repository, OWNER/NAME; made if there is none.
    adapter
        Upload the adapter, not the merged model.
    private
        Make the repository private.
    dry_run
        Write the folder and list it; nothing is sent.
    out
        Keep the folder here; a dry run keeps it as RUN/hub if left out.
    """
    from dycktune.report.publishing import stage, upload

    with ExitStack() as stack:
        kept = out or (run / "hub" if dry_run else None)
        folder = kept or _temporary(stack, run)
        files = stage(run, repo, folder, adapter=adapter)
        if not json:
            print("\n".join(f"{file.size:>14,}  {file.name}" for file in files), flush=True)
        address = None if dry_run else upload(folder, repo, private=private)
    if json:
        print(jsonlib.dumps(_output(repo, files, kept, address)))
    elif address:
        print(f"uploaded: {address}")
    else:
        print(f"not uploaded: {folder} is what {repo} would hold; read {folder / 'README.md'}")


def _temporary(stack: ExitStack, run: Path) -> Path:
    """A folder beside the run's own, so that weights can be linked and not copied."""
    place = run if run.is_dir() else None
    return Path(stack.enter_context(TemporaryDirectory(prefix=".push-", dir=place))) / "hub"


def _output(repo: str, files: "list[StagedFile]", folder: Path | None, address: str | None) -> "PushOutput":
    return {
        "repo": repo,
        "files": [{"name": file.name, "size": file.size} for file in files],
        "folder": None if folder is None else str(folder),
        "address": address,
    }
