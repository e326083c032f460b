import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from dycktune.diagnosis import Criterion, Diagnosis
from dycktune.diagnosis.diagnose import diagnose_log
from dycktune.diagnosis.log import Log


@pytest.fixture(scope="session")
def curve() -> Callable[..., list[dict]]:
    """Rows from plain lists of losses, evaluated every 100 steps and logged as often as train has values a step."""

    def build(evals=(), train=(), lr=None, every=100):
        rows = [{"step": every * (i + 1), "eval_loss": value} for i, value in enumerate(evals)]
        span = every * len(evals) / len(train) if evals and train else every
        for i, value in enumerate(train):
            row = {"step": round(span * (i + 1)), "loss": value, "grad_norm": 1.0}
            rows.append(row | ({} if lr is None else {"learning_rate": lr[i]}))
        return sorted(rows, key=lambda row: (row["step"], "eval_loss" in row))

    return build


@pytest.fixture(scope="session")
def judged() -> Callable[..., Diagnosis]:
    """The diagnosis of rows, without a file."""

    def judge_rows(rows, criterion=Criterion(), **state) -> Diagnosis:  # noqa: B008 - immutable
        return diagnose_log(Log(path=Path("made"), rows=tuple(rows), state=state), criterion=criterion)

    return judge_rows


@pytest.fixture(scope="session")
def seed_rows() -> list[dict]:
    """The founding run: good until 150, a joint rise to a plateau near 0.7, one low evaluation at 490."""

    def train(step):
        if step <= 150:
            return 1.6 * (0.22 / 1.6) ** (step / 150)
        return 0.22 + 0.55 * (step - 150) / 150 if step <= 300 else 0.74 + 0.02 * math.sin(step)

    def evaluated(step):
        if step <= 200:
            return 0.25 + 0.9 * max(0, 1 - step / 100) ** 1.5 + 0.002 * abs(step - 150) / 50
        return min(0.70, 0.25 + 0.45 * (step - 200) / 150) + 0.005 * math.sin(step)

    rows = []
    for step in range(10, 491, 10):
        decay = 0.5 * (1 + math.cos(math.pi * max(0, step - 50) / 440))
        rows.append({"step": step, "loss": train(step), "learning_rate": 5e-5 * min(1, step / 50) * decay})
        if step % 50 == 0:
            rows.append({"step": step, "eval_loss": evaluated(step)})
    return [*rows, {"step": 490, "eval_loss": 0.21}]


@pytest.fixture
def write_state(tmp_path: Path) -> Callable[..., Path]:
    """Write a trainer_state.json into a new folder of the test."""

    def write(rows, folder=".", name="trainer_state.json", **state):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"log_history": rows, **state}))
        return path

    return write
