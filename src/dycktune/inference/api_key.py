"""The key of a server: only ever in an environment variable, so that no file and no list of processes shows it."""

import os

from dycktune.errors import ConfigError

KEY_VARIABLE = "DYCKTUNE_API_KEY"


def api_key() -> str | None:
    """The key that the environment holds; None where it holds none. Raises ConfigError where it cannot be sent."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{KEY_VARIABLE} holds characters that no key has; set it again")
    return key or None
