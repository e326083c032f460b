"""A model in the server of llama.cpp, judged through its API."""

import json
from pathlib import Path

import pytest

from dycktune.cli import main

GGUF = Path(__file__).parents[2] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def url():
    llama_cpp = pytest.importorskip("xllamacpp")
    if not GGUF.is_file():
        pytest.skip("make smollm2 fetches the model")
    params = llama_cpp.CommonParams()
    params.model.path = str(GGUF)
    params.n_ctx, params.n_parallel = 2048, 2
    params.hostnames, params.port = ["127.0.0.1"], 0
    return f"{llama_cpp.Server(params).listening_address}/v1"


@pytest.mark.slow
def test_the_server_of_llama_cpp_is_evaluated_and_answers(url, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("dycktune.inference.kept_replies.cached_assets_path", lambda *_: tmp_path)
    options = ["--endpoint", url, "--max-tokens", "24", "--concurrency", "2"]
    assert main(["evaluate", "--count", "2", "--max-length", "4", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["cut_off"]) == (2, 2)
    assert main(["complete", "([", *options, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["text"]
