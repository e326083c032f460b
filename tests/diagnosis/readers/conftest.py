from collections.abc import Callable
from pathlib import Path

import pytest

from dycktune.diagnosis.log import Log
from dycktune.diagnosis.readers import read_log


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Log]:
    """The log of a text, written to a file whose name says nothing unless the test names it."""

    def read_text(text: str, name: str = "pasted", **columns: str) -> Log:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return read_log(path, columns=columns)

    return read_text


@pytest.fixture(scope="session")
def series() -> Callable[[Log, str], list[tuple[float, float]]]:
    """Step and value of every row of a log that has a column."""

    def of(log: Log, name: str) -> list[tuple[float, float]]:
        return [(row["step"], row[name]) for row in log.rows if name in row]

    return of
