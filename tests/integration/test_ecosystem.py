"""The folders of a run read by other programs: each gives the greedy text of `dycktune complete`."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import openai
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from dycktune.cli import main
from dycktune.inference.completion import PromptBuilder
from dycktune.models.card import ModelCard
from dycktune.models.loading import _BUILTIN_FOLDER, BUILTIN, load
from dycktune.models.merging import merge
from dycktune.tasks.registry import make_task
from servers import serving
from small_adapters import save_adapter

pytestmark = pytest.mark.slow

TASK = make_task()
QUESTIONS = ["([", "{<"]
START_SECONDS = 120


class Deployed(NamedTuple):
    """A run's folders, and the replies of `dycktune complete`."""

    adapter: Path
    merged: Path
    texts: list[str]
    limits: list[int]
    """Maximum tokens of each reply."""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Deployed:
    """An adapter on the built-in base, merged, as `select` writes them."""
    folder = tmp_path_factory.mktemp("run")
    adapter = save_adapter(BUILTIN, folder / "adapter", std=0.05)
    AutoTokenizer.from_pretrained(_BUILTIN_FOLDER).save_pretrained(adapter)
    ModelCard.of(BUILTIN, TASK).write(adapter)
    merged = merge(adapter, folder / "merged")
    build = PromptBuilder(load(merged), TASK)
    limits = [build(TASK.from_text(question)).limit for question in QUESTIONS]
    return Deployed(adapter, merged, texts_of("--model", str(merged)), limits)


def texts_of(*options: str) -> list[str]:
    """The replies of `dycktune complete` to the questions."""
    with pytest.MonkeyPatch.context() as patch:
        rows: list[str] = []
        patch.setattr("builtins.print", lambda row, **_: rows.append(row))
        assert main(["complete", *QUESTIONS, *options, "--json"]) in (0, 1)
    return [json.loads(row)["text"] for row in rows]


def messages(question: str) -> list[dict[str, str]]:
    return TASK.messages(TASK.from_text(question))


def generated(model, tokenizer, run: Deployed) -> list[str]:
    """The texts of plain `generate` after the tokenizer's own chat template."""
    texts = []
    for question, limit in zip(QUESTIONS, run.limits, strict=True):
        inputs = tokenizer.apply_chat_template(
            messages(question), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=limit)
        texts.append(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return texts


def answers(url: str, model: str, run: Deployed) -> list[str]:
    """The texts that the openai client gets from a server."""
    client = openai.OpenAI(base_url=url, api_key="none")
    asked = [
        client.chat.completions.create(
            model=model, messages=messages(question), max_tokens=limit, temperature=0
        )
        for question, limit in zip(QUESTIONS, run.limits, strict=True)
    ]
    return [answer.choices[0].message.content for answer in asked]


def test_merged_is_a_plain_model_of_transformers_with_its_chat_template(run):
    model = AutoModelForCausalLM.from_pretrained(run.merged)
    assert generated(model, AutoTokenizer.from_pretrained(run.merged), run) == run.texts


def test_merged_answers_in_a_pipeline(run):
    ask = pipeline("text-generation", model=str(run.merged))
    asked = [
        ask(messages(question), max_new_tokens=limit, return_full_text=False)
        for question, limit in zip(QUESTIONS, run.limits, strict=True)
    ]
    assert [answer[0]["generated_text"] for answer in asked] == run.texts


def test_the_adapter_works_with_plain_peft(run):
    base = AutoModelForCausalLM.from_pretrained(_BUILTIN_FOLDER)
    tokenizer = AutoTokenizer.from_pretrained(run.adapter)
    assert generated(PeftModel.from_pretrained(base, run.adapter), tokenizer, run) == run.texts


@pytest.mark.parametrize("part", ["merged", "adapter"])
def test_serve_answers_the_openai_client_with_the_same_text(run, part):
    folder = str(getattr(run, part))
    with serving(load(folder)) as url:
        assert answers(url, folder, run) == run.texts


def test_transformers_serve_answers_the_openai_client_and_our_own_with_the_same_text(run):
    with transformers_serve(run.merged) as url:
        assert answers(url, str(run.merged), run) == run.texts
        options = ["--endpoint", url, "--endpoint-model", str(run.merged), "--max-tokens", str(run.limits[0])]
        assert texts_of(*options)[0] == run.texts[0]


def test_the_command_serves_until_ctrl_c(run):
    command = [sys.executable, "-m", "dycktune", "serve", str(run.merged), "--port", "0"]
    with program(command) as server:
        url = re.match(r"(http://127\.0\.0\.1:\d+/v1)  model ", server.stdout.readline())[1]
        assert texts_of("--endpoint", url, "--max-tokens", str(run.limits[0]))[0] == run.texts[0]
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0


@contextmanager
def program(command: list[str]):
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        try:
            yield running
        finally:
            running.kill()


@contextmanager
def transformers_serve(model: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    transformers = str(Path(sys.executable).with_name("transformers"))
    with program([transformers, "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]) as server:
        wait_until_it_listens(port, server)
        yield f"http://127.0.0.1:{port}/v1"


def wait_until_it_listens(port: int, server: subprocess.Popen) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert server.poll() is None, "the server has ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port}")
