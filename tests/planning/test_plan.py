import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from dycktune.errors import DataError
from dycktune.planning.measurement import Measurement
from dycktune.planning.plan import plan, plan_of
from dycktune.planning.text import WIDTH, full_text, short_text
from dycktune.planning.units import duration_in_words, size_in_words
from dycktune.runs import RunFolder
from dycktune.training.recipe import build
from dycktune.training.run import train

CONTENT = {
    "model": {"base": "builtin:tiny", "dtype": "float32"},
    "task": {"max_length": 4},
    "data": {"count": 24, "eval_count": 8},
    "optim": {
        "learning_rate": 1e-3,
        "batch_size": 4,
        "accumulation": 2,
        "max_steps": 4,
        "checkpointing": False,
    },
    "eval": {"steps": 2, "exact_match": 2},
    "save": {"steps": 2},
}
SILENT = {**CONTENT, "eval": {"steps": 2, "exact_match": 0}}
"""Without answers of the untrained base, which are long."""


def test_the_measured_plan_has_time_and_memory_and_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = plan(build(CONTENT, {}), out=tmp_path / "runs" / "x")
    measured = found.facts.measured
    assert measured is not None
    assert all(0 < seconds < 60 for seconds in measured.batches.values())
    assert measured.answer_seconds
    assert measured.memory > found.facts.footprint.weights
    assert found.training_seconds
    assert found.evaluation_seconds
    assert "Measured on" in full_text(found)
    assert list(tmp_path.iterdir()) == []


def test_without_measuring_times_are_unknown_and_sizes_are_computed():
    found = plan(build(CONTENT, {}), measured=False)
    assert found.training_seconds is None
    assert found.evaluation_seconds is None
    assert found.facts.memory == found.facts.footprint.memory
    assert "not measured" in full_text(found)


def test_no_line_of_a_plan_is_longer_than_a_screen_is_wide():
    found = plan(build({**CONTENT, "optim": {"max_grad_norm": 0, "learning_rate": 9.0}}, {}), measured=False)
    lines = [*full_text(found).splitlines(), *short_text(found).splitlines()]
    assert max(map(len, lines)) <= WIDTH
    assert any(line.startswith(" " * 12) for line in lines)
    assert not [line for line in lines if line.strip().startswith(("MB", "GB", "%"))]


def test_the_plan_at_the_start_of_a_run_is_the_plan_of_its_recipe(tmp_path):
    began = []
    config = build(SILENT, {})
    train(config, tmp_path / "run", on_begin=lambda beginning: began.append(plan_of(beginning, tmp_path)))
    alone = plan(config, measured=False)
    (found,) = began
    assert found.facts.schedule == alone.facts.schedule
    assert found.facts.footprint == alone.facts.footprint
    assert found.concerns == alone.concerns
    assert short_text(found).startswith("plan        24 examples, 8 for evaluation; 4 steps of 8 examples")


def test_the_sizes_on_disk_are_those_of_a_real_run(tmp_path):
    run = RunFolder(train(build(SILENT, {}), tmp_path / "run"))
    found = plan(build(SILENT, {}), measured=False).facts.footprint
    folder = run.checkpoints()[-1].path
    with safe_open(folder / "adapter_model.safetensors", "numpy") as file:
        stored = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118
    assert stored == found.trained
    assert (folder / "adapter_model.safetensors").stat().st_size == pytest.approx(found.adapter, rel=0.05)
    assert sum(f.stat().st_size for f in folder.iterdir()) == pytest.approx(found.checkpoint, rel=0.3)


def test_a_file_without_a_usable_row_is_an_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "2 + 2?", "completion": "four"}\n')
    with pytest.raises(DataError, match="no row can be used"):
        plan(
            build(
                {
                    **CONTENT,
                    "task": {"name": "marked_answer"},
                    "data": dict.fromkeys(("train", "eval"), str(path)),
                },
                {},
            )
        )


@given(
    per_batch=st.floats(0, 5),
    per_token=st.floats(1e-5, 1e-2),
    batches=st.integers(1, 100),
    mean=st.integers(200, 1000),
)
def test_the_time_of_a_training_follows_the_line_between_the_measured_batches(
    per_batch, per_token, batches, mean
):
    measured = Measurement(
        batches={tokens: per_batch + per_token * tokens for tokens in (200, 1000)},
        eval_seconds_per_token=0.0,
        answer_seconds=None,
        memory=0,
    )
    expected = batches * per_batch + batches * mean * per_token
    assert measured.training_seconds(batches, batches * mean) == pytest.approx(expected)


def test_batches_shorter_than_both_measured_ones_take_time_in_proportion():
    measured = Measurement(
        batches={100: 1.0, 200: 9.0}, eval_seconds_per_token=0.0, answer_seconds=None, memory=0
    )
    assert measured.training_seconds(10, 500) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("size", "words"), [(12, "12 bytes"), (1999, "2 kB"), (2.5e9, "2.5 GB"), (31e12, "31 TB")]
)
def test_sizes_are_in_the_unit_that_suits_them(size, words):
    assert size_in_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0.4 seconds"), (90, "90 seconds"), (300, "5 minutes"), (7200, "2 hours"), (200_000, "2.3 days")],
)
def test_durations_are_in_the_unit_that_suits_them(seconds, words):
    assert duration_in_words(seconds) == words
