import json
from importlib import metadata

import pytest

from dycktune.errors import ConfigError
from dycktune.tasks import registry
from dycktune.tasks.base import Item, Task, Verdict
from dycktune.tasks.registry import make_task, register, task_names, task_type


class Echo(Task[Item]):
    name = "echo"
    item_type = Item

    def messages(self, item):
        del item
        return [{"role": "user", "content": "Say nothing."}]

    def solution(self, item):
        del item
        return self.marker

    def verify(self, item, reply):
        del item
        return Verdict(correct=reply == self.marker, answer=reply, format_ok=True)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})


def test_a_registered_task_is_found_by_its_name(registered):
    assert register(Echo) is Echo
    assert isinstance(make_task("echo"), Echo)
    assert "echo" in task_names()


def test_an_installed_package_adds_a_task_by_an_entry_point(registered, monkeypatch):
    entry = metadata.EntryPoint(name="echo", value=f"{__name__}:Echo", group=registry.ENTRY_POINTS)
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda _: Echo)
    monkeypatch.setattr(
        metadata,
        "entry_points",
        lambda *, group, name=None: (
            [entry] if group == registry.ENTRY_POINTS and name in (None, "echo") else []
        ),
    )
    assert task_type("echo") is Echo
    assert "echo" in task_names()


def test_an_unknown_task_is_refused_with_the_nearest_one(registered):
    with pytest.raises(ConfigError, match="unknown task 'dick'; did you mean 'dyck'"):
        task_type("dick")
    with pytest.raises(ConfigError, match="unknown task 'xyzzy'; there are dyck, marked_answer"):
        task_type("xyzzy")


def test_all_faults_of_the_options_are_in_one_message():
    with pytest.raises(
        ConfigError, match=r"task dyck: .*pairs = 9.*max_lenght is unknown; did you mean max_length"
    ):
        make_task("dyck", {"pairs": 9, "max_lenght": 3})


def test_a_task_without_typed_questions_takes_the_problem_of_a_row_as_json(registered):
    pytest.importorskip("reasoning_gym")
    task = make_task("gym:chain_sum")
    (item,) = task.items("test", count=1)

    assert task.from_text(json.dumps(item.to_row()["problem"])) == item
    with pytest.raises(ValueError, match="give the problem of a data row as JSON"):
        task.from_text("What is 2 + 2?")
