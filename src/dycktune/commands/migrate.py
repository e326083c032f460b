"""`dycktune migrate`."""

import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from dycktune.errors import ConfigError

if TYPE_CHECKING:
    from dycktune.migration import Migration


def migrate(
    file: Path,
    /,
    *,
    out: Path | None = None,
    program: Literal["axolotl", "llama-factory", "trl"] | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Turn a configuration of axolotl, LLaMA-Factory or TRL into a recipe, and name what has no counterpart.

    Settings that the file leaves out get the other program's defaults, so that the recipe trains alike. Exit status 0
    where the recipe can be trained, 1 where something is to be done first.

    Example: dycktune migrate axolotl.yaml --out recipe.toml

    Parameters
    ----------
    file
        The YAML or JSON file.
    out
        The recipe to write (.toml); printed if left out.
    program
        The program that the file was written for; its settings tell if left out.
    json
        Print one JSON object with the recipe and the notes.
    """
    from dycktune.migration import migrate as read

    if out is not None and out.suffix != ".toml":
        raise ConfigError(f"--out {out}: name a recipe that ends in .toml")
    if out is not None and out.exists():
        raise ConfigError(f"--out {out} exists; name another file, or move it away")
    found = read(file, program=program)
    if out is not None:
        from dycktune.files import write_text

        write_text(out, found.to_toml())
    if json:
        print(jsonlib.dumps(found.to_json(), ensure_ascii=False))
    elif out is None:
        print(found.to_toml(), end="")
    if not json:
        _report(file, found, out)
    return 0 if found.ready else 1


def _report(file: Path, found: "Migration", out: Path | None) -> None:
    """The notes, on standard error where standard output is the recipe."""
    from dycktune.migration.migrate import note_text

    stream = sys.stdout if out else sys.stderr
    print(f"{file}: {found.program}, {len(found.moved)} settings moved", file=stream)
    for note in found.notes:
        print(f"  {note_text(note)}", file=stream)
    if out is not None:
        print(f"Written: {out}; look at it with: dycktune plan {out}", file=stream)
