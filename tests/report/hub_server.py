"""A small Hub on this machine: repositories are made, and files are uploaded into them by commits."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Hub:
    """What has reached it."""

    address: str = ""
    token: str = "hf_secret-of-a-test"  # noqa: S105 - of no real hub
    """The only token it accepts."""
    repositories: dict[str, bool] = field(default_factory=dict)
    """Whether each is private."""
    files: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    """Large files by their SHA-256."""


@contextmanager
def hub() -> Iterator[Hub]:
    """Serve until the end of the block."""
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def _handler(state: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            name = self.path.split("?")[0].removeprefix("/api/models/")
            if name in state.repositories:
                private = state.repositories[name]
                self._answer({"id": name, "private": private, "siblings": [], "sha": "0" * 40})
            else:
                self._answer({"error": "Repository not found"}, status=404)

        def do_PUT(self) -> None:
            content = self._body()
            state.stored[hashlib.sha256(content).hexdigest()] = content
            self._answer({})

        def do_POST(self) -> None:
            content = self._body()
            if self.headers.get("authorization") != f"Bearer {state.token}":
                self._answer({"error": "Invalid credentials"}, status=401)
            elif self.path == "/api/repos/create":
                self._create(json.loads(content))
            elif self.path == "/api/validate-yaml":
                self._answer({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                names = [file["path"] for file in json.loads(content)["files"]]
                kinds = {True: "lfs", False: "regular"}
                modes = [
                    {"path": name, "uploadMode": kinds[name.endswith(".safetensors")], "shouldIgnore": False}
                    for name in names
                ]
                self._answer({"files": modes})
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = json.loads(content)["objects"]
                self._answer({"transfer": "basic", "objects": [_upload(o, state.address) for o in objects]})
            elif "/commit/" in self.path:
                _commit(state, content)
                self._answer({"commitUrl": f"{state.address}/me/m/commit/{'0' * 40}", "commitOid": "0" * 40})
            else:
                self._answer({"error": self.path}, status=404)

        def _create(self, request: dict) -> None:
            name = f"{request.get('organization', 'me')}/{request['name']}"
            private = request.get("private") or request.get("visibility") == "private"
            status = 409 if name in state.repositories else 200
            state.repositories.setdefault(name, private)
            self._answer({"url": f"{state.address}/{name}", "name": name}, status=status)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("content-length") or 0))

        def _answer(self, content: dict, *, status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _upload(wanted: dict, address: str) -> dict:
    return {**wanted, "actions": {"upload": {"href": f"{address}/store/{wanted['oid']}", "header": {}}}}


def _commit(state: Hub, content: bytes) -> None:
    for line in map(json.loads, content.splitlines()):
        value = line["value"]
        if line["key"] == "file":
            state.files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            state.files[value["path"]] = state.stored[value["oid"]]
