"""A model in the server of llama.cpp, judged through its API."""

import json
from pathlib import Path

import pytest

from dycktune.cli import main
from llama_cpp import Server

GGUF = Path(__file__).parents[2] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def server():
    if not GGUF.is_file():
        pytest.skip("make smollm2 fetches the model")
    return Server(GGUF)


@pytest.mark.slow
def test_the_server_of_llama_cpp_is_evaluated_and_answers(server, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("dycktune.inference.kept_replies.cached_assets_path", lambda *_: tmp_path)
    options = ["--endpoint", server.address, "--max-tokens", "4", "--concurrency", "2"]
    assert main(["evaluate", "--count", "2", "--max-length", "4", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["cut_off"]) == (2, 2)
    assert main(["complete", "([", *options, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["text"]
