"""Fine-tune language models on reasoning traces with verifiable answers, and know whether it worked."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dycktune.data.corpus import Corpus
    from dycktune.diagnosis import diagnose
    from dycktune.evaluation.evaluate import evaluate
    from dycktune.inference.completion import complete
    from dycktune.selection import select
    from dycktune.tasks.dyck.problem import Problem
    from dycktune.tasks.dyck.verify import verify
    from dycktune.training.run import train

_HOMES = {
    "Corpus": "dycktune.data.corpus",
    "Problem": "dycktune.tasks.dyck.problem",
    "complete": "dycktune.inference.completion",
    "diagnose": "dycktune.diagnosis",
    "evaluate": "dycktune.evaluation.evaluate",
    "select": "dycktune.selection",
    "train": "dycktune.training.run",
    "verify": "dycktune.tasks.dyck.verify",
}

__all__ = ["Corpus", "Problem", "complete", "diagnose", "evaluate", "select", "train", "verify"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for, so that `import dycktune` loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dycktune' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
