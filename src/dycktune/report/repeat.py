"""The commands that repeat a run and its evaluations."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from dycktune.report.subject import Subject


class Command(NamedTuple):
    """A command line and its purpose."""

    text: str
    purpose: str


def commands(subject: Subject) -> list[Command]:
    """In the order of the work; a log of another program has only its diagnosis and its report."""
    path = shlex.quote(str(subject.path))
    looked = [
        Command(f"dycktune diagnose {path}", "the doctor's findings"),
        Command(f"dycktune report {path}", "this page"),
    ]
    return [*_made(subject, path), *looked] if subject.is_run else looked


def _made(subject: Subject, path: str) -> Iterator[Command]:
    again = shlex.quote(f"{subject.path}-again")
    yield Command(f"dycktune train {path}/config.toml --out {again}", "the training, in a new folder")
    yield Command(f"dycktune select {path}", "the choice of the checkpoint")
    for row in subject.evaluations:
        options = row.get("options")
        if options:
            checkpoint = shlex.quote(row.get("reference", ""))
            of = {"base": f"{path} --base", "checkpoint": checkpoint}.get(row.get("role", "tuned"), path)
            yield Command(f"dycktune evaluate {of} {options}", f"exact match on {row['n']} items")
