import json
from pathlib import Path

import pytest

from dycktune.errors import DataError
from dycktune.tasks.dyck.benchmark import read_benchmark

BBH = Path(__file__).parents[4] / "shared" / "benchmarks" / "bbh_dyck_languages.json"


def write(path: Path, *rows: tuple[str, str]) -> Path:
    path.write_text(json.dumps({"canary": "x", "examples": [{"input": a, "target": b} for a, b in rows]}))
    return path


def test_prefixes_are_read_from_behind_the_last_input_word(tmp_path):
    path = write(tmp_path / "b.json", ("Complete the rest. Input: [ (", ") ]"), ("Input: { < >", "}"))
    assert [problem.prefix for problem in read_benchmark(path)] == ["[(", "{<>"]


def test_a_target_that_is_not_the_closing_names_its_row(tmp_path):
    with pytest.raises(
        DataError, match=r"examples\[1\].target is '\)', but the closing of its input is '\]'"
    ):
        read_benchmark(write(tmp_path / "b.json", ("Input: (", ")"), ("Input: [", ")")))


@pytest.mark.parametrize("content", ["", "[]", '{"examples": [{"input": "Input: ("}]}', '{"examples": 3}'])
def test_another_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(DataError, match="is not a BIG-Bench Hard file"):
        read_benchmark(path)


@pytest.mark.skipif(not BBH.exists(), reason="the published file is not here")
def test_the_published_file_is_read_whole():
    problems = read_benchmark(BBH)
    assert len(problems) == 250
    assert {len(problem.closing) for problem in problems} == {1, 2, 3}
