"""The settings in a run's own configuration, so that advice can name them."""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """Settings of the optimizer; None where the configuration has none."""

    max_grad_norm: float | None = None
    """Norm to which gradients were clipped; 0 for not at all."""

    warmup: float | None = None
    """Share of the steps in which the learning rate rises."""


def read_settings(run: Path) -> Settings:
    """Read the config.toml of a run folder, from `run` or its folder `checkpoints`; other Trainers write none.

    Their training_args.bin is a pickle, which nothing here may load.
    """
    file = (run.parent if run.name == "checkpoints" else run) / "config.toml"
    try:
        optim = tomllib.loads(file.read_text(encoding="utf-8")).get("optim")
    except (OSError, ValueError):
        return Settings()
    return Settings(*(_number(optim, name) for name in Settings._fields))


def _number(section: Any, name: str) -> float | None:
    value = section.get(name) if isinstance(section, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
