"""`dycktune push`."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter


def push(
    run: Path,
    repo: str,
    *,
    adapter: Annotated[bool, Parameter(negative="")] = False,
    private: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
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
        # Beside the run, so that weights can be linked and not copied.
        folder = out or (run / "hub" if dry_run else _temporary(stack, run))
        files = stage(run, repo, folder, adapter=adapter)
        for file in files:
            print(f"{file.size:>14,}  {file.name}")
        if dry_run:
            print(f"not uploaded: {folder} is what {repo} would hold; read {folder / 'README.md'}")
            return
        print(f"uploaded: {upload(folder, repo, private=private)}")


def _temporary(stack: ExitStack, run: Path) -> Path:
    return (
        Path(stack.enter_context(TemporaryDirectory(prefix=".push-", dir=run if run.is_dir() else None)))
        / "hub"
    )
