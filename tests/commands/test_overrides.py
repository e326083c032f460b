from typing import Annotated

import pytest
from cyclopts import App, CycloptsError, Parameter

from dycktune.commands.overrides import Overrides, override_texts
from dycktune.schema import described_fields, every_field
from dycktune.tasks.dyck.task import DyckOptions
from dycktune.training.config import Config

app = App(help_format="plaintext")


@app.default
def collect(*, overrides: Annotated[Overrides | None, Parameter(name="*")] = None) -> dict[str, str]:
    return override_texts(overrides or Overrides())


def texts(*arguments: str) -> dict[str, str]:
    return app(arguments, exit_on_error=False, print_error=False, result_action="return_value")


def test_every_field_is_an_option_with_its_docstring_choices_and_default(capsys):
    texts("--help")
    # The width of the terminal decides where lines break.
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    names = [name for name in every_field(Config) if name != "task.options"]
    names += [f"task.{entry.name}" for entry in described_fields(DyckOptions)]
    assert [name for name in names if f"--{name.replace('_', '-')} " not in shown] == []
    assert "How the learning rate falls after the warm-up. [choices: cosine, linear," in shown
    assert "Rank. [default: 16]" in shown
    assert "--task.OPTION VALUE" in shown


def test_only_options_on_the_command_line_are_collected():
    assert texts() == {}
    assert texts("--loss.answer-weight", "3", "--lora.target-modules", '["q"]', "--task.max-length", "7") == {
        "loss.answer_weight": "3",
        "lora.target_modules": '["q"]',
        "task.max_length": "7",
    }


def test_options_of_other_tasks_are_collected_beside_the_task_s_name():
    assert texts("--task.name", "arithmetic", "--task.max-operations", "3") == {
        "task.name": "arithmetic",
        "task.max-operations": "3",
    }


def test_an_unknown_field_of_another_section_is_refused():
    with pytest.raises(CycloptsError, match=r"--loss\.answer-weight"):
        texts("--loss.answer-wait", "3")
