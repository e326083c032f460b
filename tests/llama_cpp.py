"""llama.cpp's server on a GGUF file, through the package xllamacpp."""

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest


class Server:
    """Answers from one file, greedily, on one thread."""

    def __init__(self, path: Path, *, context: int = 2048) -> None:
        xllamacpp = pytest.importorskip("xllamacpp")
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx, parameters.n_parallel = context, 1
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        parameters.warmup, parameters.port, parameters.verbosity = False, 0, 0
        self._server = xllamacpp.Server(parameters)

    @property
    def address(self) -> str:
        """Where clients of the OpenAI API find it."""
        return f"{self._server.listening_address}/v1"

    def tokens(self, text: str) -> list[int]:
        """The ids of a text with special tokens read as such."""
        return self._post("/tokenize", content=text, add_special=False, parse_special=True)["tokens"]

    def rendered(self, messages: Sequence[Any]) -> str:
        """The prompt that the file's chat template makes of a conversation."""
        return self._post("/apply-template", messages=list(messages))["prompt"]

    def reply(self, messages: Sequence[Any], *, limit: int) -> str:
        """The reply to a conversation in at most `limit` tokens, as a client of the chat API gets it."""
        answer = self._post(
            "/v1/chat/completions",
            messages=list(messages),
            max_tokens=limit,
            temperature=0,
            cache_prompt=False,
        )
        return answer["choices"][0]["message"]["content"]

    def _post(self, route: str, **content: Any) -> Any:
        request = urllib.request.Request(  # noqa: S310
            self._server.listening_address + route,
            json.dumps(content).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return json.load(answer)
