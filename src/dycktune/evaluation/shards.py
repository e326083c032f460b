"""One evaluation by several jobs: each writes its shard's replies to a file, and the files are joined.

The joined evaluation is that of one job: the items keep their order, and the verifier reads every reply again.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from dycktune import ranks
from dycktune.data.corpus import Shard
from dycktune.errors import ConfigError, DataError, StoreError
from dycktune.evaluation.evaluate import Evaluation
from dycktune.files import write_json
from dycktune.inference.completion import Answered, VerifiedReply
from dycktune.outputs import ShardOutput, ShardReplyOutput
from dycktune.remote import is_remote, local_copy, written
from dycktune.tasks.base import Item, Task

T = TypeVar("T")


class _Part(NamedTuple):
    """The file of a shard."""

    path: Path
    shard: Shard
    content: ShardOutput


def part_of(items: Sequence[T], shard: Shard) -> Sequence[T]:
    """The items of a shard: every N-th one, since neighbours are alike in length and so in work."""
    return items[shard.index - 1 :: shard.of]


def require_place(path: Path | str) -> None:
    """Refuse a place where no shard can be written, before the evaluation; the folder is made if there is none.

    Raises:
        DataError: the file cannot be written.
        StoreError: the store cannot be written.
    """
    with _place_of(path) as place, TemporaryFile(dir=place.parent):
        if place.is_dir():
            raise DataError(f"{path} is a folder; name a file")


def write_shard(
    path: Path | str,
    evaluation: Evaluation[Answered],
    shard: Shard,
    *,
    model: str,
    items: int,
    options: str | None,
) -> None:
    """Write the replies of a shard to a file, whole or not at all.

    Args:
        path: The file, or its URL; its folder is made if there is none.
        evaluation: Of the shard's items.
        shard: Which part of all items it is.
        model: A name of the model, the same in all shards.
        items: Number of items over all shards.
        options: Options of `dycktune evaluate` that name the items; None where no options do.

    Raises:
        DataError: the file cannot be written.
        StoreError: the store cannot be written.
    """
    content = ShardOutput(
        shard=str(shard), model=model, items=items, options=options, replies=_replies(evaluation.completions)
    )
    with _place_of(path) as place:
        write_json(place, content)


@contextmanager
def _place_of(path: Path | str) -> Iterator[Path]:
    """The place for the file of a shard, in a folder that is there."""
    try:
        with written(path) as place:
            place.parent.mkdir(parents=True, exist_ok=True)
            yield place
    except StoreError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}; name another file") from error


def join_shards(
    paths: Sequence[Path | str], task: Task, items: Sequence[Item], *, model: str | None
) -> Evaluation[VerifiedReply]:
    """The evaluation of all items, from the files of all shards.

    Args:
        paths: The files, or folders that hold them; URLs of an object store too.
        task: The task.
        items: All items, in their order.
        model: The name of the model in every file; None for whichever model they name.

    Raises:
        DataError: a file is no shard, shards are missing or stand twice, or they are of another model or other items.
    """
    parts = _complete([_read(path) for path in _files(paths)])
    names = {part.content["model"] for part in parts} | ({model} if model else set())
    if len(names) > 1:
        raise DataError(f"the shards are of several models: {', '.join(sorted(names))}; join those of one")
    replies = [_checked(part, items) for part in parts]
    found = zip(items, ranks.interleave(replies), strict=True)
    return Evaluation(task=task, completions=[_verified(task, item, reply) for item, reply in found])


def _files(paths: Sequence[Path | str]) -> list[Path]:
    places = [local_copy(str(path)) if is_remote(path) else Path(path) for path in paths]
    found = [
        file for place in places for file in (sorted(place.glob("*.json")) if place.is_dir() else [place])
    ]
    if not found:
        raise DataError(
            f"{', '.join(map(str, paths))} holds no shard (*.json); write each with --shard I/N --out FILE.json"
        )
    return found


def _read(path: Path) -> _Part:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}; name the files of --out, or a folder of them"
        ) from error
    try:
        content = TypeAdapter(ShardOutput).validate_json(text, strict=True)
        return _Part(path, Shard.parse(content["shard"]), content)
    except (ValidationError, ConfigError) as error:
        raise DataError(
            f"{path} is no shard of an evaluation; name the files of --out, or a folder of them"
        ) from error


def _complete(parts: Sequence[_Part]) -> list[_Part]:
    """The parts in the order of their shards; refuses missing ones and those of several evaluations."""
    sizes = Counter(part.shard.of for part in parts)
    if len(sizes) > 1:
        raise DataError(
            f"the shards are parts of {' and of '.join(map(str, sorted(sizes)))}; join those of one evaluation"
        )
    (of,) = sizes
    by_index: dict[int, _Part] = {}
    for part in parts:
        if (other := by_index.setdefault(part.shard.index, part)) is not part:
            raise DataError(f"{other.path} and {part.path} are both shard {part.shard}; remove one")
    if missing := [f"{index}/{of}" for index in range(1, of + 1) if index not in by_index]:
        raise DataError(
            f"{len(missing)} of {of} shards are missing: {', '.join(missing)}; evaluate them first"
        )
    return [by_index[index] for index in range(1, of + 1)]


def _checked(part: _Part, items: Sequence[Item]) -> list[ShardReplyOutput]:
    """The replies of a shard, which must answer its part of `items`."""
    keys = [item.key for item in part_of(items, part.shard)]
    replies = part.content["replies"]
    if part.content["items"] != len(items) or [reply["item"] for reply in replies] != keys:
        options = part.content["options"]
        hint = (
            f"join with {options}" if options else "join with the options that the shards were evaluated with"
        )
        raise DataError(f"{part.path} holds replies to other items than these {len(items)}; {hint}")
    return replies


def _replies(completions: Sequence[Answered]) -> list[ShardReplyOutput]:
    return [
        ShardReplyOutput(item=c.item.key, text=c.text, finished=c.finished, near_tie=c.near_tie)
        for c in completions
    ]


def _verified(task: Task, item: Item, reply: ShardReplyOutput) -> VerifiedReply:
    text = reply["text"]
    return VerifiedReply(
        item=item,
        text=text,
        verdict=task.verify(item, text),
        finished=reply["finished"],
        near_tie=reply["near_tie"],
    )
