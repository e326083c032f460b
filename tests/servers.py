"""Local servers: one that answers as a script says, and one of a small model."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from dycktune.commands.listening import SETTINGS, listen

if TYPE_CHECKING:
    from dycktune.models.loading import LoadedModel


@dataclass
class Answer:
    """What a scripted server sends: JSON, or a text as it is; None closes the connection without an answer."""

    content: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def reply(text: str, **choice: Any) -> Answer:
    """A chat completion."""
    message = {"role": "assistant", "content": text}
    return Answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]})


class ScriptedServer:
    """Answers each request with what a function of its content returns, and keeps the requests."""

    def __init__(self, script: Callable[[dict[str, Any]], Answer]) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""


@contextmanager
def scripted(script: Callable[[dict[str, Any]], Answer] | Answer) -> Iterator[ScriptedServer]:
    """A scripted server; it lists one model, `m`."""
    server = ScriptedServer(script if callable(script) else lambda _: script)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(Answer({"object": "list", "data": [{"id": "m"}]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests.append(body)
            server.keys.append(self.headers.get("authorization"))
            self._send(server.script(body))

        def _send(self, answer: Answer) -> None:
            if answer.content is None:
                self.close_connection = True
                return
            text = answer.content if isinstance(answer.content, str) else json.dumps(answer.content)
            self.send_response(answer.status)
            for name, value in {**answer.headers, "content-length": str(len(text.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listening.server_port}/v1"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@contextmanager
def serving(loaded: "LoadedModel", *, key: str | None = None) -> Iterator[str]:
    """`dycktune serve` of a model in this process; gives its URL."""
    import uvicorn

    from dycktune.serving.server import make_server

    with listen("127.0.0.1", 0, usual=0) as listening:
        server = uvicorn.Server(uvicorn.Config(make_server(loaded, key=key), **SETTINGS))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()
