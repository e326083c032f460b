"""Fine-tune language models on reasoning traces with verifiable answers, and know whether it worked."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dycktune.data.corpus import Corpus
    from dycktune.diagnosis import diagnose
    from dycktune.evaluation.evaluate import evaluate
    from dycktune.inference.completion import complete
    from dycktune.models.loading import load
    from dycktune.selection import select
    from dycktune.tasks.base import Item, Task, Verdict
    from dycktune.tasks.dyck.problem import Problem
    from dycktune.tasks.dyck.verify import verify
    from dycktune.tasks.registry import make_task, register
    from dycktune.training.recipe import load as load_recipe
    from dycktune.training.run import train

_HOMES = {
    "Corpus": "dycktune.data.corpus:Corpus",
    "Item": "dycktune.tasks.base:Item",
    "Problem": "dycktune.tasks.dyck.problem:Problem",
    "Task": "dycktune.tasks.base:Task",
    "Verdict": "dycktune.tasks.base:Verdict",
    "complete": "dycktune.inference.completion:complete",
    "diagnose": "dycktune.diagnosis:diagnose",
    "evaluate": "dycktune.evaluation.evaluate:evaluate",
    "load": "dycktune.models.loading:load",
    "load_recipe": "dycktune.training.recipe:load",
    "make_task": "dycktune.tasks.registry:make_task",
    "register": "dycktune.tasks.registry:register",
    "select": "dycktune.selection:select",
    "train": "dycktune.training.run:train",
    "verify": "dycktune.tasks.dyck.verify:verify",
}

__all__ = [
    "Corpus",
    "Item",
    "Problem",
    "Task",
    "Verdict",
    "complete",
    "diagnose",
    "evaluate",
    "load",
    "load_recipe",
    "make_task",
    "register",
    "select",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a name on first access, so that `import dycktune` loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dycktune' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)
