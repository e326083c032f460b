"""Replies of a server that are kept until their evaluation is done, so that an interrupted one goes on."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import cached_assets_path

from dycktune.errors import ConfigError
from dycktune.files import append_jsonl, read_jsonl, write_jsonl
from dycktune.inference.endpoint import Body, Endpoint, EndpointReply


class KeptReplies:
    """The replies of one model of a server, in a JSONL file, by item and request."""

    def __init__(self, endpoint: Endpoint, path: Path) -> None:
        """Read the file. Raises RunError where it holds something else."""
        self.path = path
        self._endpoint = endpoint
        self._rows: dict[str, dict[str, Any]] = {row["request"]: row for row in read_jsonl(path)}
        if path.is_file():
            self._write()  # without a last line that a killed process wrote by half

    def find(self, item: str, body: Body) -> EndpointReply | None:
        """The kept reply to an item's request; None for none."""
        row = self._rows.get(_digest(item, body))
        return None if row is None else EndpointReply(row["text"], row["finished"])

    def add(self, item: str, body: Body, reply: EndpointReply) -> None:
        """Keep a reply."""
        digest = _digest(item, body)
        self._rows[digest] = {
            "endpoint": self._endpoint.url,
            "model": self._endpoint.model,
            "item": item,
            "request": digest,
            **reply._asdict(),
        }
        append_jsonl(self.path, self._rows[digest])

    def forget(self, requests: Iterable[tuple[str, Body]]) -> None:
        """Remove the replies to these items' requests: a server may get another model under the same name."""
        for item, body in requests:
            self._rows.pop(_digest(item, body), None)
        self._write()

    def _write(self) -> None:
        if self._rows:
            write_jsonl(self.path, self._rows.values())
        else:
            self.path.unlink(missing_ok=True)


def kept_replies(endpoint: Endpoint) -> KeptReplies:
    """The kept replies of a model of a server, in the assets cache of huggingface_hub (`HF_ASSETS_CACHE`, `HF_HOME`).

    Raises:
        ConfigError: they cannot be kept there.
    """
    name = hashlib.sha256(f"{endpoint.url}\n{endpoint.model}".encode()).hexdigest()[:16]
    try:
        folder = cached_assets_path("dycktune", "endpoints", "replies")
    except (OSError, ValueError) as error:
        raise ConfigError(f"the replies cannot be kept: {error}; set HF_ASSETS_CACHE to a folder") from error
    return KeptReplies(endpoint, folder / f"{name}.jsonl")


def _digest(item: str, body: Body) -> str:
    return hashlib.sha256(json.dumps([item, body], sort_keys=True).encode()).hexdigest()
