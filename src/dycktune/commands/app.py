"""`dycktune app`."""

import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from dycktune.commands.listening import SETTINGS, address, listen
from dycktune.errors import ConfigError
from dycktune.runs import RUNS

if TYPE_CHECKING:
    from types import FrameType

    from starlette.applications import Starlette

PORT = 7870


def app(
    *, model: str | None = None, runs: Path = RUNS, host: str = "127.0.0.1", port: int | None = None
) -> int:
    """Open a local page: ask models and watch them answer, drop logs on the doctor, look at runs.

    Each step of an answer is ticked or crossed by the verifier as it appears; two models answer side by side.
    Needs the extra `app`: pip install 'dycktune[app]'.

    Example: dycktune app

    Parameters
    ----------
    model
        The model to begin with: a run, checkpoint, adapter or merged folder, a Hub id, or builtin:tiny; the newest
        run if left out.
    runs
        The folder of runs to choose from.
    host
        The address to listen on. Any but this machine's own (127.0.0.1) is open to the network, so the page then asks
        for the token of the printed address.
    port
        The port to listen on; 7870 if left out, or a free one where that is taken.
    """
    try:
        import uvicorn  # noqa: F401 - asked for here, used by _serve

        from dycktune.app.access import LOOPBACK
        from dycktune.app.choices import named
        from dycktune.app.server import make_app
    except ImportError as error:
        raise ConfigError(
            f"dycktune app needs {error.name}, a package of its extra; install it with: pip install 'dycktune[app]'"
        ) from error

    first = named(model) if model else None
    local = host in LOOPBACK
    token = None if local else secrets.token_urlsafe(16)
    listening = listen(host, port, usual=PORT)
    page = make_app(runs, first=first, hosts=LOOPBACK if local else None, token=token)
    opened = f"{address(host, listening.getsockname()[1])}/{f'?token={token}' if token else ''}"
    print(f"{opened}  (stop with Ctrl-C)", flush=True)
    _serve(page, listening)
    return 0


def _serve(page: "Starlette", listening: socket.socket) -> None:
    """Serve until Ctrl-C."""
    import uvicorn

    config = uvicorn.Config(page, **SETTINGS)

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: "FrameType | None") -> None:
            page.state.stop()
            super().handle_exit(sig, frame)

    try:
        Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn raises it again once it has stopped
        return
