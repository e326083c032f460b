"""Options of a task on the command line, such as `--max-length 40`: each task has its own."""

from dycktune.schema import described_fields
from dycktune.tasks.registry import DEFAULT_TASK, task_type


def _help(name: str) -> str:
    fields = described_fields(task_type(name).Options)
    listed = "; ".join(
        f"--{field.name.replace('_', '-')} ({field.default}): {field.description}" for field in fields
    )
    return f"Options of the task. Those of {name}: {listed}"


TASK_OPTIONS = _help(DEFAULT_TASK)
"""The help of a command's task options."""
