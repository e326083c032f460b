"""`dycktune schema`."""

import json as jsonlib
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from dycktune import outputs, records
from dycktune.errors import ConfigError
from dycktune.schema import json_schema

_KINDS: dict[str, Any] = {
    "diagnose": outputs.DiagnosisOutput,
    "evaluate": outputs.EvaluationOutput,
    "complete": outputs.CompletionOutput | outputs.AnswerOutput | outputs.UnusableOutput,
    "verify": outputs.VerdictOutput,
    "preview": outputs.PreviewOutput,
    "plan": outputs.PlanOutput,
    "train": outputs.TrainOutput,
    "select": records.SelectionRecord,
    "merge": outputs.MergeOutput,
    "export": outputs.ExportOutput,
    "push": outputs.PushOutput,
    "ship": outputs.ShipOutput,
    "runs": list[outputs.RunOutput],
    "generate": outputs.GenerateOutput,
    "tokens": outputs.TokensOutput,
    "report": outputs.ReportOutput,
    "migrate": outputs.MigrateOutput,
    "metrics.jsonl": records.MetricsRow,
    "scores.jsonl": records.ScoreRow,
    "replies.jsonl": records.RepliesRow,
    "evaluations.jsonl": records.EvaluationRow,
    "guard.jsonl": records.GuardRow,
    "findings.json": outputs.DiagnosisOutput,
    "selection.json": records.SelectionRecord,
    "manifest.json": outputs.RunManifest,
    "data.manifest.json": outputs.DataManifest,
    "shard.json": outputs.ShardOutput,
}
"""The commands with `--json`, and the files that commands write: a row, or the whole content of a `.json` file."""


def schema(name: str | None = None, /) -> int:
    """Print the JSON Schema of a command's `--json` output, of the recipe, or of a file in a run folder.

    Keys that a schema lists stay; new ones may come beside them.

    Example: dycktune schema evaluate

    Parameters
    ----------
    name
        A command, `recipe`, or a file such as metrics.jsonl (the schema of a row); all names are listed if left out.
    """
    if name is None:
        print("\n".join(names()))
        return 0
    print(jsonlib.dumps(published(name), indent=2, ensure_ascii=False))
    return 0


def names() -> list[str]:
    """Every name that has a schema."""
    return [*_KINDS, *_OTHERS]


def published(name: str) -> dict[str, Any]:
    """The JSON Schema of this name.

    Raises:
        ConfigError: nothing with this name has a schema.
    """
    if name in _KINDS:
        return json_schema(_KINDS[name])
    if name in _OTHERS:
        return _OTHERS[name]()
    close = get_close_matches(name, names(), n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names())}"
    raise ConfigError(f"{name} has no schema; {hint}")


def _recipe() -> dict[str, Any]:
    from dycktune.training import recipe

    return recipe.json_schema()


def _card() -> dict[str, Any]:
    from dycktune.models.card import ModelCard

    return json_schema(ModelCard)


_OTHERS: dict[str, Callable[[], dict[str, Any]]] = {"recipe": _recipe, "dycktune.json": _card}
