"""Whether a recipe can be trained by reinforcement learning; asked before TRL is imported."""

from importlib.util import find_spec

from dycktune import ranks
from dycktune.errors import ConfigError
from dycktune.training.config import Config


def require_grpo(config: Config) -> None:
    """Raise ConfigError where TRL is missing, or the replies of a step do not make whole groups."""
    missing = [name for name in ("trl", "datasets") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"train.method = 'grpo' needs {' and '.join(missing)}: pip install 'dycktune[rl]'")
    replies, group = _replies_of_a_step(config), config.grpo.group_size
    if replies % group:
        raise ConfigError(
            f"a step samples {replies} replies (optim.batch_size × optim.accumulation on each device), no multiple of "
            f"grpo.group_size = {group}; change one of them"
        )


def require_enough_problems(config: Config, count: int) -> None:
    """Raise ConfigError where `count` problems are too few for a single step."""
    replies, group = _replies_of_a_step(config), config.grpo.group_size
    if count < replies // group:
        raise ConfigError(
            f"a step asks {replies // group} problems ({replies} replies in groups of grpo.group_size = {group}), and "
            f"{count} can be asked; lower optim.batch_size or optim.accumulation, or add problems "
            f"({'data.count' if config.data.train is None else 'rows of data.train that the task can verify'})"
        )


def _replies_of_a_step(config: Config) -> int:
    return config.optim.batch_size * config.optim.accumulation * ranks.world_size()
