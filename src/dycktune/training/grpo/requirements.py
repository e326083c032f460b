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
    optim, group = config.optim, config.grpo.group_size
    replies = optim.batch_size * optim.accumulation * ranks.world_size()
    if replies % group:
        raise ConfigError(
            f"a step samples {replies} replies (optim.batch_size × optim.accumulation on each device), no multiple of "
            f"grpo.group_size = {group}; change one of them"
        )
