"""A short question of a task, for a user who wants to see one."""

from random import randrange

from dycktune.errors import ItemError
from dycktune.tasks.base import Task

DRAWS = 6
"""The shortest of so many is shown."""


def can_draw(task: Task) -> bool:
    """Whether the task generates items."""
    return type(task).draw is not Task.draw or type(task).stream is not Task.stream


def example_question(task: Task) -> str:
    """A question of the test split, drawn at random. Raises ItemError for a task that generates none."""
    if not can_draw(task):
        raise ItemError(f"task {task.name} has no example questions; type one of your own")
    items = task.items("test", count=DRAWS, seed=randrange(2**31))
    return min(map(task.to_text, items), key=len)
