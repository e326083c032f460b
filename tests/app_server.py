"""The app as a user starts it."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What the server sent back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@dataclass(frozen=True)
class Server:
    """A running `dycktune app`."""

    address: str
    """As it was printed."""
    folder: Path
    """Of the runs."""

    def request(
        self, method: str, path: str, content: bytes | dict[str, Any] = b"", /, **headers: str
    ) -> Answer:
        """Send one request; underscores in the names of headers become dashes."""
        place = urlsplit(self.address)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        connection.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def post(self, path: str, content: bytes | dict[str, Any], **headers: str) -> Answer:
        return self.request("POST", path, content, **headers)


def start(folder: Path, *options: str) -> Iterator[Server]:
    """Run `dycktune app` until the generator is closed."""
    command = [sys.executable, "-m", "dycktune", "app", "--runs", str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline().split()[0], folder)
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()
