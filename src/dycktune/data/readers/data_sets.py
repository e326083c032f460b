"""Data sets of the Hub, and folders of data files, through the library `datasets`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from dycktune.data.readers.located import LocatedRow
from dycktune.data.readers.reference import HubReference, Reference
from dycktune.errors import DataError, DycktuneError

_PROBE_SECONDS = 10


def read_folder(reference: Reference) -> Iterator[LocatedRow]:
    """The rows of a folder: one that `save_to_disk` wrote, or data files whose names tell the splits.

    Raises:
        DataError: `datasets` is not installed, the folder holds no data, or several splits and none is named.
    """
    library, path = _datasets(reference), reference.path
    with _one_line_errors(reference):
        if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
            rows = _of_split(library.load_from_disk(str(path)), reference, reference.part)
        else:
            rows = _prepared(library.load_dataset_builder(str(path)), reference, reference.part)
    return _numbered(rows, reference)


def read_hub(reference: HubReference) -> Iterator[LocatedRow]:
    """The rows of a data set of the Hub; it is downloaded once and kept in the library's cache.

    Raises:
        DataError: `datasets` is not installed, the Hub cannot be reached, it has no such data set, or the data set has
            several configurations or splits and none is named.
    """
    library = _datasets(reference)
    if not library.config.HF_HUB_OFFLINE:
        _refuse_unreachable(reference)
    with _one_line_errors(reference):
        config = reference.config or _only_config(library, reference)
        builder = library.load_dataset_builder(reference.name, config)
        rows = _prepared(builder, reference._replace(config=config), reference.split)
    return _numbered(rows, reference)


def _datasets(reference: Reference | HubReference) -> Any:
    try:
        return import_module("datasets")
    except ImportError as error:
        place = (
            "is a folder" if isinstance(reference, Reference) else "is no file here; a data set of the Hub"
        )
        raise DataError(
            f"{reference} {place}, which needs the library datasets; pip install 'dycktune[parquet]', or name a file"
        ) from error


def _refuse_unreachable(reference: HubReference) -> None:
    """Ask the Hub once: the library would try for half a minute, and warn at each try."""
    hub = import_module("huggingface_hub")
    try:
        hub.HfApi().dataset_info(reference.name, timeout=_PROBE_SECONDS)
    except hub.errors.RepositoryNotFoundError as error:
        raise DataError(
            f"{reference} is no file or folder here, and the Hub has no data set {reference.name}; correct the "
            "name, or log in for a private one: hf auth login"
        ) from error
    except Exception as error:  # the library's transport errors have no common class
        raise DataError(
            f"{reference} is no file or folder here, and the Hub cannot be reached ({_first_line(error)}); "
            "correct the path, or set HF_HUB_OFFLINE=1 to use a data set that was downloaded before"
        ) from error


def _only_config(library: Any, reference: HubReference) -> str | None:
    names = library.get_dataset_config_names(reference.name)
    if len(names) <= 1 or "default" in names:
        return None
    raise DataError(
        f"{reference.name} has the configurations {', '.join(names)}; "
        f"name one: {reference.name}:{names[0]}:{reference.split or 'train'}"
    )


def _prepared(builder: Any, reference: Reference | HubReference, split: str | None) -> Any:
    builder.download_and_prepare()
    name = split or _single(builder.info.splits, reference)
    return builder.as_dataset(split=name)


def _of_split(stored: Any, reference: Reference, split: str | None) -> Any:
    """One split of what `save_to_disk` wrote."""
    if not isinstance(stored, Mapping):
        if split is not None:
            raise DataError(f"{reference.path} has no splits; name the folder alone")
        return stored
    name = split or _single(stored, reference)
    if name not in stored:
        raise DataError(f"{reference.path} has no split {name!r}; choose one of {', '.join(stored)}")
    return stored[name]


def _single(splits: Mapping[str, Any], reference: Reference | HubReference) -> str:
    first, *more = splits
    if more:
        raise DataError(f"{reference} has the splits {', '.join(splits)}; name one: {reference}:{first}")
    return first


def _numbered(rows: Any, reference: Reference | HubReference) -> Iterator[LocatedRow]:
    return (LocatedRow(f"{reference} row {number}", row) for number, row in enumerate(rows, start=1))


@contextmanager
def _one_line_errors(reference: Reference | HubReference) -> Iterator[None]:
    try:
        yield
    except DycktuneError:
        raise
    except Exception as error:  # the library raises errors of pyarrow, the Hub, the file system and its own
        cause = error.__cause__ or error
        raise DataError(
            f"{reference} cannot be read by datasets: {_first_line(cause)}; a file can be named instead"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
