"""The settings in a run's own configuration, so that advice can name them."""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """Settings of a run; None where the configuration has none."""

    max_grad_norm: float | None = None
    """Norm to which gradients were clipped; 0 for not at all."""

    warmup: float | None = None
    """Share of the steps in which the learning rate rises."""

    group_size: float | None = None
    """Replies to each problem, in reinforcement learning."""

    temperature: float | None = None
    """At which they are sampled."""

    beta: float | None = None
    """Weight of the KL divergence from the reference."""


SECTIONS = ("optim", "grpo")
"""Sections of a recipe that have these settings."""


def read_settings(run: Path) -> Settings:
    """Read the config.toml of a run folder, from `run` or its folder `checkpoints`; other Trainers write none.

    Their training_args.bin is a pickle, which nothing here may load.
    """
    file = (run.parent if run.name == "checkpoints" else run) / "config.toml"
    try:
        recipe = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Settings()
    return Settings(*(_number(recipe, name) for name in Settings._fields))


def _number(recipe: dict[str, Any], name: str) -> float | None:
    sections = [recipe.get(section) for section in SECTIONS]
    value = next((one[name] for one in sections if isinstance(one, dict) and name in one), None)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
