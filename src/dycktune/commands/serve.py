"""`dycktune serve`."""

import socket
from typing import TYPE_CHECKING

from dycktune.commands.default_model import named_or_newest
from dycktune.commands.listening import SETTINGS, address, listen
from dycktune.console.terminal import Quiet
from dycktune.errors import ConfigError
from dycktune.inference.api_key import KEY_VARIABLE, api_key

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PORT = 8000


def serve(
    model: str | None = None, /, *, host: str = "127.0.0.1", port: int | None = None, quiet: Quiet = False
) -> int:
    """Answer clients of the OpenAI API with a model, until Ctrl-C. The texts are those of `dycktune complete`.

    It uses the model's own chat template and stop tokens, and decodes greedily. Needs the extra `serve`:
    pip install 'dycktune[serve]'.

    Example: dycktune serve runs/quickstart

    Parameters
    ----------
    model
        A run (its merged model), a checkpoint, adapter or merged folder, a Hub id, a .gguf file, or builtin:tiny; else
        the newest run. RUN/adapter is the adapter on its base.
    host
        The address to listen on. Any but this machine's own (127.0.0.1) is open to the network, and needs a key.
    port
        The port to listen on; 8000 if left out, or a free one where that is taken.
    """
    try:
        import uvicorn  # noqa: F401 - asked for here, used by _run

        from dycktune.app.access import LOOPBACK
    except ImportError as error:
        raise ConfigError(
            f"dycktune serve needs {error.name}, a package of its extra; install it with: pip install 'dycktune[serve]'"
        ) from error

    key = api_key()
    if key is None and host not in LOOPBACK:
        raise ConfigError(
            f"--host {host} opens the model to the network; set the key that clients must send in {KEY_VARIABLE} first"
        )
    asked = named_or_newest(model, option="MODEL")
    asked.announce()
    with listen(host, port, usual=PORT) as listening:
        server = _server(asked.reference, key, quiet=quiet)
        opened = address(host, listening.getsockname()[1])
        print(f"{opened}/v1  model {asked.reference}  (stop with Ctrl-C)", flush=True)
        _run(server, listening)
    return 0


def _server(reference: str, key: str | None, *, quiet: bool) -> "ASGIApp":
    from dycktune.console.bar import working
    from dycktune.models.loading import load
    from dycktune.serving.server import make_server

    with working(f"loading {reference}", unit="models", quiet=quiet):
        return make_server(load(reference), key=key)


def _run(server: "ASGIApp", listening: socket.socket) -> None:
    """Serve until Ctrl-C."""
    import uvicorn

    try:
        uvicorn.Server(uvicorn.Config(server, **SETTINGS)).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn raises it again once it has stopped
        return
