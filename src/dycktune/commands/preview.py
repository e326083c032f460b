"""`dycktune preview`."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dycktune.commands.overrides import Overrides, override_texts
from dycktune.errors import ConfigError

if TYPE_CHECKING:
    from dycktune.preview.preview import Preview
    from dycktune.training.config import Config


def preview(
    config: Path | None = None,
    /,
    *,
    data: str | None = None,
    model: str | None = None,
    count: int = 3,
    full: Annotated[bool, Parameter(negative="")] = False,
    html: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    overrides: Annotated[Overrides | None, Parameter(name="*")] = None,  # pyright: ignore[reportInvalidTypeForm]
) -> int:
    """Show what a model will be trained on: examples token by token, lengths, refused rows, repeated questions.

    Exit status 0 where training accepts every row, 1 where it would refuse some.

    Example: dycktune preview --data rows.jsonl --model HuggingFaceTB/SmolLM2-135M-Instruct

    Parameters
    ----------
    config
        The recipe, a TOML file. Every field of it is an option as well, as in `train`.
    data
        A data file to look at without a recipe; needs --model.
    model
        The base whose tokenizer and chat template are used; replaces the recipe's.
    count
        Examples to show, from the shortest to the longest.
    full
        Show long examples and all refused rows whole.
    html
        Write the preview as a page to this file too.
    json
        Print one JSON object.
    """
    if count < 0:
        raise ConfigError(f"--count is {count}; give 0 or more")
    chosen = _recipe(config, data, model, override_texts(overrides) if overrides else {})
    from dycktune.preview.preview import preview as look

    found = look(chosen, count=count, splits=("train",) if data else ("train", "eval"))
    if html is not None:
        from dycktune.files import write_text
        from dycktune.preview.page import page

        write_text(html, page(found))
    _show(found, full=full, html=html, json=json)
    return 0 if found.trainable else 1


def _recipe(config: Path | None, data: str | None, model: str | None, texts: dict[str, str]) -> "Config":
    from dycktune.training import recipe

    if (config is None) == (data is None):
        raise ConfigError("name a recipe, or a data file with --data FILE --model MODEL")
    if config is not None:
        return recipe.load(config, texts | ({"model.base": model} if model else {}))
    if model is None:
        raise ConfigError("--data needs --model: the tokenizer and the chat template decide what is trained")
    content = {"model": {"base": model}, "data": {"train": data, "eval": data}}
    return recipe.build(content, texts, source="--data")


def _show(found: "Preview", *, full: bool, html: Path | None, json: bool) -> None:
    if json:
        print(jsonlib.dumps(found.to_json(), ensure_ascii=False))
        return
    from rich.console import Console

    from dycktune.preview.text import render

    Console(highlight=False, soft_wrap=True, emoji=False, markup=False).print(
        render(found, full=full), soft_wrap=True
    )
    if html is not None:
        print(f"written: {html}")
