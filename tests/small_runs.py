"""Recipes and examples small enough to train on in a second."""

from pathlib import Path

from dycktune.data.rows import Example, example_of
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.task import Dyck, DyckOptions
from dycktune.training.config import Config
from dycktune.training.recipe import build
from dycktune.training.run import fit
from small_models import make_model, make_tokenizer

PREFIXES = (
    "(",
    "([",
    "{",
    "<(",
    "[[",
    "({}",
    "<<[",
    "()[",
    "[{}(",
    "(((",
    "<>{",
    "{[",
    "[<>",
    "(<[{",
    "{{}",
    "<",
)


def dyck(**options: object) -> Dyck:
    """The bracket task, with these options."""
    return Dyck(DyckOptions(**options))


STACK = dyck(style="stack")
"""Its traces are short on few brackets, and any tokenizer can write them."""


def examples(count: int) -> list[Example]:
    """The first `count` of a few problems, as examples."""
    problems = enumerate(map(Problem, PREFIXES[:count]), start=1)
    return [example_of(STACK, problem, source=f"small:{i}") for i, problem in problems]


def small_config(**overrides: object) -> Config:
    """A recipe of six steps; overrides by `section__field`."""
    content: dict[str, dict[str, object]] = {
        "task": {"name": "dyck", "style": "stack"},
        "lora": {"r": 4, "dropout": 0.1},
        "optim": {
            "learning_rate": 1e-2,
            "batch_size": 2,
            "accumulation": 2,
            "max_steps": 6,
            "precision": "float32",
            "checkpointing": False,
        },
        "eval": {"steps": 2, "batch_size": 3, "log_steps": 1, "exact_match": 0},
        "save": {"steps": 2},
    }
    for name, value in overrides.items():
        section, _, field = name.partition("__")
        content.setdefault(section, {})[field] = value
    return build(content, {})


def fit_small(out: Path, *, family: str = "qwen2.5", config: Config | None = None, **options: object) -> Path:
    """Train a small random model into `out`."""
    tokenizer = make_tokenizer(family)
    model = make_model(tokenizer)
    return fit(config or small_config(), model, tokenizer, examples(16), examples(5), out, **options)
