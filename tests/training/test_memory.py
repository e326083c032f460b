import gc
import json
import shutil

import pytest
import torch
from torch import nn

from dycktune.training import memory
from dycktune.training.memory import bytes_kept, tokens_that_fit
from small_runs import fit_small, small_config

CPU = torch.device("cpu")


def test_what_autograd_keeps_is_counted_once():
    layer = nn.Linear(8, 4, bias=False)
    x = torch.randn(16, 8, requires_grad=True)

    def twice():
        return layer(x) + layer(x)

    # Input and weight, which both products share.
    assert bytes_kept(twice) == 4 * (16 * 8 + 4 * 8)


def test_counting_changes_no_random_state():
    before = torch.get_rng_state()
    bytes_kept(lambda: nn.functional.dropout(torch.ones(100, requires_grad=True)))
    assert torch.equal(torch.get_rng_state(), before)


def test_counting_leaves_nothing_in_memory():
    layers = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=-1), nn.Linear(4, 4))
    bytes_kept(lambda: layers(torch.zeros(2, 4)))
    before = tensors()
    bytes_kept(lambda: layers(torch.zeros(2, 4)))
    assert tensors() == before


def tensors() -> int:
    gc.collect()
    return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())


def test_twice_the_free_memory_fits_twice_the_tokens(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda _: 10_000_000)
    few = tokens_that_fit(1000, 10, CPU)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 20_000_000)
    assert tokens_that_fit(1000, 10, CPU) == pytest.approx(2 * few, abs=1)


def manifest(run) -> dict:
    return json.loads((run / "manifest.json").read_text())


def test_a_run_has_no_limit_where_every_batch_fits(tmp_path):
    assert manifest(fit_small(tmp_path / "run", config=small_config()))["tokens_per_pass"] is None


def test_a_run_with_little_memory_splits_its_batches_and_loses_nothing(tmp_path, monkeypatch):
    config = small_config(lora__dropout=0.0)
    whole = fit_small(tmp_path / "whole", config=config)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 400_000)
    split = fit_small(tmp_path / "split", config=config)
    assert 1 <= manifest(split)["tokens_per_pass"] < 100
    losses = [
        [
            json.loads(line)["loss"]
            for line in (run / "metrics.jsonl").read_text().splitlines()
            if '"loss"' in line
        ]
        for run in (whole, split)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_resumed_run_splits_its_batches_as_before(tmp_path, monkeypatch):
    config = small_config()
    run = fit_small(tmp_path / "run", config=config)
    recorded = manifest(run)
    (run / "manifest.json").write_text(json.dumps({**recorded, "tokens_per_pass": 77}))
    shutil.rmtree(run / "checkpoints" / "checkpoint-6")
    fit_small(run, config=config, resume=True)
    assert manifest(run)["tokens_per_pass"] == 77
