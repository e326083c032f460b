from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "how-to"


@pytest.mark.parametrize(
    ("page", "file"), [("add-a-task.md", "add_a_task.py"), ("train-on-your-own-data.md", "own_data.toml")]
)
def test_a_page_shows_its_example_file_word_for_word(page: str, file: str) -> None:
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert f"cat > {file} <<'END'\n{text}END\n" in (FOLDER / page).read_text(encoding="utf-8")


def test_the_page_of_sweeps_shows_the_slurm_script_word_for_word() -> None:
    text = (FOLDER.parents[1] / "recipes" / "launch" / "sweep.sh").read_text(encoding="utf-8")
    page = (FOLDER / "more-than-one-machine.md").read_text(encoding="utf-8")
    assert f"cat > sweep.sh <<'END'\n{text}END\n" in page


def test_a_whole_task_takes_under_60_lines() -> None:
    assert len((FOLDER / "add_a_task.py").read_text(encoding="utf-8").splitlines()) < 60
