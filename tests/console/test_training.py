import io

import pytest
from rich.console import Console
from rich.text import Text

from dycktune.console.terminal import Terminal
from dycktune.console.training import TrainingView
from dycktune.training.events import AtStep, Evaluating


def shown(view, *, width=80, height=24):
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, no_color=True)
    console.print(view)
    return Text.from_ansi(console.file.getvalue()).plain


def row(step, loss):
    return {"step": step, "loss": loss, "learning_rate": 1e-3}


@pytest.fixture
def view():
    earlier = [
        row(5, 8.0),
        row(10, 4.0),
        {"step": 10, "eval_loss": 3.5, "eval_exact_match": 0.25},
        row(15, 99.0),
    ]
    return TrainingView(Terminal(quiet=True), evaluation_steps=10, earlier=earlier)


def test_before_the_first_step_it_says_that_it_loads(view):
    assert "loading model and data" in shown(view)


def test_a_resumed_training_shows_the_figures_up_to_its_checkpoint(view):
    view.on_event(AtStep(10, 40))
    text = shown(view)
    assert "10/40" in text
    assert "0.250" in text
    assert "8.00" in text
    assert "99.0" not in text


def test_the_view_ends_before_the_last_two_columns_so_that_ctrl_c_fits(view):
    view.on_event(AtStep(10, 40))
    view.on_event(Evaluating(1, 8))
    for width in (30, 60, 80, 200):
        lines = [line.rstrip() for line in shown(view, width=width).splitlines()]
        assert max(map(len, lines)) <= width - len("^C")


def test_a_low_terminal_has_only_the_bar(view):
    view.on_event(AtStep(10, 40))
    assert len(shown(view, height=5).splitlines()) == 1


def test_a_loss_that_is_not_finite_is_shown_as_such(view, capsys):
    view.on_event(AtStep(10, 40))
    view.on_log({"max_steps": 40, **row(20, float("nan"))})
    assert "nan" in shown(view)
    assert "loss nan" in capsys.readouterr().out
