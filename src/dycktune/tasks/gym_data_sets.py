"""The data sets of reasoning-gym as they are loaded, and the ones among them that need care."""

import ast
import io
import json
import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from dycktune import schema
from dycktune.errors import ConfigError

SIZE = 500
"""Items of a data set under one seed; some lay out all of them when they are made."""

REFUSED = {
    "composite": "it mixes other data sets; name one of them",
    "codeio": "it runs programs that a language model wrote; some write files, and some depend on the clock",
}
"""Data sets that cannot be used, and why."""

FIXED_HASH = {"isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"}
"""Data sets whose items depend on the order of Python's sets, and so on the environment variable PYTHONHASHSEED."""

EXAMPLES = {
    "graph_color": "possible_answer",
    "propositional_logic": "example_answer",
    "rubiks_cube": "example_correct_answer",
}
"""Where a data set whose questions have many right answers keeps one of them."""

EXACT = {"coin_flip", "game_of_life_halting"}
"""Their scorers give wrong answers the full score, so the answer must be the right one's text."""

TUPLES = {"arc_agi", "rearc"}
"""Their scorers compare the grid `output` as nested tuples, which JSON has not."""

_LITERALS = {"binary_matrix", "n_queens", "number_sorting", "spiral_matrix", "string_insertion"}
"""Their scorers evaluate a list with `eval`. `ast.literal_eval` reads the same lists and runs no code."""

_ARITHMETIC = re.compile(r"(?:[0-9]{1,9}|\*(?!\*)|[-+/(). ])*")
_FORMULA = re.compile(
    r"(?:\b[A-Za-z]\b|\b[0-9]{1,12}(?:\.[0-9]{1,9})?\b|\*\*(?! *\(* *-?[0-9]{3})|\*(?!\*)|[-+/(), ]"
    r"|\b(?:a?(?:sin|cos|tan)h?|sec|csc|cot|exp|log|ln|sqrt|pi|Abs|Integral)\b)*"
)
READABLE = {
    "bitwise_arithmetic": re.compile(r"(?:\b(?:0x)?[0-9a-fA-F]{1,40}\b|<<|>>|\*(?!\*)|[-+&|^~() ])*"),
    "countdown": _ARITHMETIC,
    "intermediate_integration": _FORMULA,
    "polynomial_multiplication": _FORMULA,
    "puzzle24": _ARITHMETIC,
    "rubiks_cube": re.compile(r"(?:\S{1,6}(?<![0-9]{2})(?:\s+|$))*"),
    "simple_integration": _FORMULA,
}
"""The only texts that scorers which would run or expand a text may see."""


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Keep from the process what data sets print, and fix the global random numbers that some of them use."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global numbers are the point
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@lru_cache(maxsize=8)
def load(name: str, config: str) -> Any:
    """A data set with its configuration, given as JSON."""
    known = _reasoning_gym().factory.DATASETS
    if name in REFUSED:
        raise ConfigError(f"gym:{name} cannot be used: {REFUSED[name]}")
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = (
            f"did you mean gym:{close[0]}?"
            if close
            else f"there are {', '.join(sorted(known.keys() - REFUSED))}"
        )
        raise ConfigError(f"reasoning-gym has no data set {name!r}; {hint}")
    kind, configuration = known[name]
    values = json.loads(config)
    if owned := values.keys() & {"seed", "size"}:
        raise ConfigError(f"task.config.{min(owned)} is not set here; data.seed and data.count decide it")
    source = f"task.config of gym:{name}"
    settings = schema.build(configuration, values | {"seed": 0, "size": SIZE}, source=source)
    if name in _LITERALS:
        vars(sys.modules[kind.__module__])["eval"] = ast.literal_eval
    try:
        with isolated(0):
            return kind(settings)
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"{source}: {error or type(error).__name__}") from error


def _reasoning_gym() -> ModuleType:
    try:
        with redirect_stdout(io.StringIO()):
            return import_module("reasoning_gym")
    except ImportError as error:
        raise ConfigError("the task gym needs reasoning-gym; pip install 'dycktune[gym]'") from error
