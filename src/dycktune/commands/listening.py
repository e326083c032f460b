"""The socket of a local server, and the address to print."""

import socket
from typing import Any

from dycktune.errors import ConfigError

MAX_CONNECTIONS = 64
EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - only if the user names it
"""A client cannot open these; it needs the machine's name."""
SETTINGS: dict[str, Any] = {
    "log_level": "warning",
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
    "ws": "none",
    "limit_concurrency": MAX_CONNECTIONS,
    "timeout_graceful_shutdown": 1,
}
"""Of uvicorn."""


def listen(host: str, port: int | None, *, usual: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: The address.
        port: The port; `usual` when None, or a free one where that is taken.
        usual: The port of this server.

    Raises:
        ConfigError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reason = ""
    for tried in (usual, 0) if port is None else (port,):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, tried))
            listening.listen()  # so that a client that comes before the server is ready waits
        except (OSError, OverflowError) as error:
            listening.close()
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        else:
            return listening
    raise ConfigError(
        f"cannot listen on {host}, port {port or usual}: {reason}; name another with --host or --port"
    )


def address(host: str, port: int) -> str:
    """The address that a client can open, without a slash at its end."""
    name = socket.gethostname() if host in EVERY_ADDRESS else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"
