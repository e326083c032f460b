"""`dycktune plan`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dycktune.commands.overrides import Overrides, override_texts
from dycktune.runs import RUNS


def plan(
    config: Path,
    /,
    *,
    out: Path | None = None,
    no_measure: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    overrides: Annotated[Overrides | None, Parameter(name="*")] = None,  # pyright: ignore[reportInvalidTypeForm]
) -> int:
    """Show what a training will do and need on this machine, and which settings look wrong.

    Loads the base and runs a few real steps to measure time and memory. Exit status 0 where nothing looks wrong, 1
    where something does.

    Example: dycktune plan recipes/quickstart.toml --no-measure

    Parameters
    ----------
    config
        The recipe, a TOML file. Every field of it is an option as well, as in `train`.
    out
        The run folder, whose disk must have room; runs/ and the recipe's name if left out.
    no_measure
        Compute the plan without loading the base's weights.
    json
        Print one JSON object.
    """
    from dycktune.training import recipe

    chosen = recipe.load(config, override_texts(overrides) if overrides else {})
    from dycktune.planning.plan import plan as make_plan
    from dycktune.planning.text import full_text

    found = make_plan(chosen, measured=not no_measure, out=out or RUNS / config.stem)
    print(jsonlib.dumps(found.to_json(), ensure_ascii=False) if json else full_text(found))
    return 1 if found.warned else 0
