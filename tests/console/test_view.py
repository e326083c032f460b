"""The view as a person sees it: a program in a pseudo-terminal, and the screen that it leaves."""

import re
import sys
from pathlib import Path

import pytest

from dycktune.cli import main
from terminals import run_in_terminal

PROGRAM = [sys.executable, str(Path(__file__).with_name("training_program.py"))]
EVALUATIONS = [
    "step 20/40  eval 7.95e-07  exact match 0.500",
    "step 40/40  eval 7.95e-07  exact match 1.000",
]
GUARD = (
    "guard: step 25: the loss stayed far above its best level; rolled back to the weights of step 20; "
    "learning rate × 0.125"
)
BRAILLE = re.compile("[\u2801-\u28ff]")
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;[25])[;\dm]")


@pytest.fixture(scope="module")
def session():
    return run_in_terminal(PROGRAM, columns=100)


def test_the_view_has_the_bar_the_last_figures_and_a_curve(session):
    screen = session.moment(lambda text: "35/40" in text)
    assert re.search(r"training ━+[╸╺━]*.* 35/40 [\d.]+ steps/s \d+:\d\d left", screen)
    assert re.search(r"train loss +\d\.\d\de-0\d .*1\.81$", screen, re.MULTILINE)
    assert re.search(r"eval loss +7\.95e-07", screen)
    assert re.search(r"exact match +0\.500", screen)
    assert BRAILLE.search(screen)


def test_an_evaluation_shows_how_many_answers_it_has(session):
    screen = session.moment(lambda text: "evaluating" in text)
    assert re.search(r"(20|40)/40 evaluating 3/8 \d+:\d\d left", screen)


def test_at_the_end_the_view_is_gone_and_every_line_is_there_once_and_whole(session):
    lines = session.final.splitlines()
    for line in ("a library's warning", "a print in two parts", *EVALUATIONS, GUARD[:100]):
        assert lines.count(line) == 1
    assert sum("a warning of Python" in line for line in lines) == 2  # the warning, and its line of source
    assert "training" not in session.final.replace("training_program", "")
    assert not BRAILLE.search(session.final)
    assert not session.cursor_hidden


def test_lines_that_are_printed_meanwhile_are_never_torn(session):
    for screen in session.screens:
        assert all("━" not in line or line.startswith("training ━") for line in screen)


def test_standard_output_in_a_pipe_gets_all_lines_and_the_terminal_only_the_view():
    session = run_in_terminal(PROGRAM, columns=100, pipe_output=True)
    printed = session.output.decode().splitlines()
    assert [line for line in printed if "eval" in line] == EVALUATIONS
    assert sum("loss" in line and "lr" in line for line in printed) == 8
    assert GUARD in printed
    assert any("training ━" in line for screen in session.screens for line in screen)
    assert not any(line in session.final for line in EVALUATIONS)


@pytest.mark.parametrize(
    ("arguments", "environment"), [(["--quiet"], {}), ([], {"TERM": "dumb"})], ids=["quiet", "dumb terminal"]
)
def test_without_a_view_there_are_plain_lines_and_no_control_codes(arguments, environment):
    session = run_in_terminal([*PROGRAM, *arguments], columns=100, environment=environment)
    assert b"\x1b" not in session.raw
    assert "━" not in session.final
    assert sum("  lr 1.0e-03" in line for line in session.final.splitlines()) == 8
    assert all(line in session.final for line in EVALUATIONS)


def test_colours_are_in_a_terminal_and_not_with_no_color(session):
    assert COLOUR.search(session.raw)
    plain = run_in_terminal(PROGRAM, columns=100, environment={"NO_COLOR": "1"})
    assert not COLOUR.search(plain.raw)
    assert any("training ━" in line for screen in plain.screens for line in screen)


def test_a_narrow_terminal_keeps_the_bar_and_drops_the_rest():
    session = run_in_terminal(PROGRAM, columns=28, lines=6)
    screen = session.moment(lambda text: "35/40" in text)
    assert re.search(r"^training ━.* 35/40$", screen, re.MULTILINE)
    assert not BRAILLE.search(screen)
    assert "train loss" not in screen


def test_a_terminal_without_unicode_gets_a_view_in_ascii():
    session = run_in_terminal(PROGRAM, columns=100, environment={"PYTHONIOENCODING": "ascii:replace"})
    assert session.status == 0
    assert any("35/40" in line for screen in session.screens for line in screen)
    assert session.raw.decode("ascii").isascii()


def test_ctrl_c_leaves_a_clean_terminal_and_one_line_that_says_how_to_go_on():
    session = run_in_terminal(
        [*PROGRAM, "--endless"], columns=100, interrupt_when=lambda text: "evaluating 3/8" in text
    )
    assert session.status == 130
    assert not session.cursor_hidden
    assert session.final.splitlines()[-1] == "dycktune: stopped; go on with: again"
    assert "Traceback" not in session.final
    assert "training ━" not in session.final


def test_generate_shows_one_bar_and_leaves_only_its_result(tmp_path):
    command = [sys.executable, "-m", "dycktune", "generate", str(tmp_path / "rows.jsonl"), "--count", "20000"]
    session = run_in_terminal(command, columns=200)
    assert any(re.search(r"generating ━.*\d+/20000", line) for screen in session.screens for line in screen)
    assert "generating" not in session.final
    assert session.final.splitlines()[0].endswith("20000 train items of task dyck")
    assert not session.cursor_hidden


@pytest.mark.parametrize("workers", ["1", "2"])
def test_generate_stopped_by_ctrl_c_writes_nothing_and_says_so(tmp_path, workers):
    out = tmp_path / "rows.jsonl"
    command = [
        sys.executable,
        "-m",
        "dycktune",
        "generate",
        str(out),
        "--count",
        "400000",
        "--workers",
        workers,
    ]
    session = run_in_terminal(
        command, columns=200, interrupt_when=lambda text: bool(re.search(r"[1-9]\d*/400000", text))
    )
    assert session.status == 130
    last = session.final.splitlines()[-1]
    assert last == f"dycktune: stopped; {out} was not written; start again with the same command"
    assert "Traceback" not in session.final
    assert not list(tmp_path.iterdir())


def test_without_a_terminal_nothing_is_shown_but_the_result(tmp_path, capfd):
    assert main(["generate", str(tmp_path / "rows.jsonl"), "--count", "50"]) == 0
    printed = capfd.readouterr()
    assert not printed.err
    assert "\x1b" not in printed.out
