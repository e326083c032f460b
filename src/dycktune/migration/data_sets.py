"""The data of another program's configuration as `data.train` and `data.eval`."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from dycktune.data.readers import reference as data
from dycktune.migration.draft import Draft, number

EVAL_FILE = "eval.jsonl"

_SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".gz")


def reference(entry: Mapping[str, Any]) -> str:
    """A data set that `datasets.load_dataset` takes, as this program names it: a file, or `owner/name:config:split`."""
    files = entry.get("data_files")
    if files:
        return str(files[0] if isinstance(files, list) else files)
    path, config, split = str(entry.get("path") or ""), entry.get("name"), entry.get("split")
    if not on_hub(path):
        return path
    return ":".join(str(part) for part in (path, config, split or "train") if part)


def on_hub(path: str) -> bool:
    """Whether a text is a name of the Hub, `owner/name`, and no file or folder."""
    is_file = data.local(path) is not None or PurePath(path).suffix in _SUFFIXES
    return not is_file and data.on_hub(path) is not None


def put_train(draft: Draft, references: list[str], key: str) -> None:
    """Set `data.train`; a recipe names one data set."""
    if not references:
        draft.note("todo", key, "no data set is named; set data.train and data.eval")
        return
    draft.put("data.train", references[0], key)
    if len(references) > 1:
        draft.note(
            "todo", key, f"a recipe names one data set; join {', '.join(references)} and set data.train"
        )


def put_eval(
    draft: Draft, references: list[str], key: str, *, share: str, default: float | None = None
) -> None:
    """Set `data.eval`: the named data set, else a part of the training data.

    Args:
        draft: The draft, with `data.train`.
        references: The data sets for evaluation.
        key: The setting that names them.
        share: The setting that holds the share of the training data to keep for evaluation, or its number of rows.
        default: That share, where the setting is left out.
    """
    part, train = number(draft.take(share)) or default, draft.fields.get("data.train")
    if references:
        draft.put("data.eval", references[0], key)
        if len(references) > 1:
            draft.note("unmatched", key, f"a recipe evaluates one data set; {references[0]} is set")
    elif part and isinstance(train, str) and on_hub(train.partition(":")[0]):
        _split(draft, train, part, share)
    elif train is not None:
        draft.fields["data.eval"] = EVAL_FILE
        rows = f"{part:g} of its rows" if part else "some of its rows"
        draft.note("todo", share, f"data.eval is a file of its own: move {rows} to {EVAL_FILE}")


def _split(draft: Draft, train: str, part: float, key: str) -> None:
    """Two slices of the same split. Other programs draw the rows at random."""
    bound = f"-{part:g}" if part >= 1 else f"{100 * (1 - part):g}%"
    draft.put("data.train", f"{train}[:{bound}]", draft.source_of("data.train"))
    draft.put("data.eval", f"{train}[{bound}:]", key)
    draft.note("differs", key, "the last rows are kept for evaluation, instead of random ones or none")
