"""Files in object stores, such as `s3://bucket/rows.jsonl`, through fsspec: copied here before they are read.

The store's own library finds the keys: in the environment, its configuration files, or the role of the machine. None is
read or printed here.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import uuid4

from dycktune.errors import DycktuneError, StoreError
from dycktune.files import read_json, replacing, write_json
from dycktune.locks import LOCK_NAME

_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+]*)://.+")
_KEY = re.compile(r"[^/]*@|[^/:]*:(?!\d+(?:/|$)).*@")
"""The beginning of a URL behind its `://`, if it holds a user or a key; a secret key may hold slashes."""

_PROBE = ".writable-"
"""Beginning of the name of a file that tests whether a store can be written, and is removed at once."""

_VERSION_KEYS = ("size", "ETag", "etag", "mtime", "LastModified", "last_modified", "md5Hash", "generation")
"""Facts of a stored file that change with its content; each store has some of them."""

_OPTIONS = {"s3": {"config_kwargs": {"connect_timeout": 10, "retries": {"max_attempts": 1}}}}
"""s3fs repeats a failed request by itself; with botocore's repetitions inside, an unreachable host takes minutes."""

_EXTRAS = {"s3": "pip install 'dycktune[s3]'", "gs": "pip install gcsfs", "az": "pip install adlfs"}


class StoredFile(NamedTuple):
    """A file of a store."""

    key: str
    """Its path in the store."""
    version: str
    """Another one after every change."""


def is_remote(text: Path | str | None) -> bool:
    """Whether `text` is a URL such as `s3://bucket/key`."""
    return isinstance(text, str) and _URL.fullmatch(text) is not None


def key_fault(text: str) -> str | None:
    """Why a URL is refused that holds a key, or can hold one, without repeating it; None for any other text."""
    protocol, _, rest = text.partition("://")
    if rest and protocol.lower() in ("http", "https"):
        return f"{protocol} addresses are not read: they can hold keys; download the file first"
    if _KEY.match(rest):
        return (
            f"a URL of {protocol}:// that holds a user or a key before an @ is not used; set the keys as the store's "
            "own library takes them"
        )
    return None


def name_of(url: str) -> str:
    """The last part of a URL's path."""
    return PurePosixPath(url.partition("://")[2]).name


class Store:
    """A file or folder of an object store."""

    def __init__(self, url: str) -> None:
        """Connect to the store of `url`.

        Raises:
            StoreError: no library for it is installed, or the URL cannot be used.
        """
        if fault := key_fault(url):
            raise StoreError(fault)
        protocol = url.partition("://")[0]
        self.url = url.rstrip("/")
        with self._errors():
            core = import_module("fsspec.core")
            options = {"use_listings_cache": False, "skip_instance_cache": True, **_OPTIONS.get(protocol, {})}
            self._system, self.root = core.url_to_fs(self.url, **options)

    def files(self, *, beside: str = "") -> dict[str, StoredFile]:
        """The files by their path below the URL; a file that the URL itself names has its own name.

        Args:
            beside: For such a file, the end of a longer name: the file of that name is given too, if it is there.

        Raises:
            StoreError: there is none, or the store cannot be used.
        """
        with self._errors():
            found = self._system.find(self.root, detail=True)
        if beside and self.root in found:
            with self._errors(missing_is_error=False):
                found[f"{self.root}{beside}"] = self._system.info(f"{self.root}{beside}")
        files = {
            key: facts
            for key, facts in found.items()
            if facts["type"] == "file" and not key.endswith("/") and f"/{_PROBE}" not in key
        }
        if not files:
            raise StoreError(f"{self.url} is not there: no such file or folder; correct the name")
        return {self._relative(key): StoredFile(key, _version(facts)) for key, facts in files.items()}

    def has(self, name: str) -> bool:
        """Whether a file stands below the URL. Raises StoreError where the store cannot be used."""
        with self._errors(missing_is_error=False):
            return self._system.info(f"{self.root}/{name}")["type"] == "file"
        return False

    def get(self, file: StoredFile, target: Path) -> None:
        """Copy a file of the store to `target`, whole or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._errors(), replacing(target) as partial:
            self._system.get_file(file.key, str(partial))

    def put(self, source: Path, name: str) -> None:
        """Copy a file of this machine below the URL."""
        with self._errors():
            # No folders are made: s3fs would make the bucket, also for a name with a typing error.
            self._system.put_file(str(source), f"{self.root}/{name}")

    def require_writable(self) -> None:
        """Write and remove a file. Raises StoreError where that is not possible."""
        with self._errors():
            # Jobs that start together test the same folder.
            place = f"{self.root}/{_PROBE}{uuid4().hex}"
            self._system.pipe_file(place, b"")
            self._system.rm_file(place)

    def remove(self, name: str) -> None:
        """Remove a file below the URL; it may be gone already."""
        with self._errors(missing_is_error=False):
            self._system.rm_file(f"{self.root}/{name}")

    def _relative(self, key: str) -> str:
        below = key.removeprefix(f"{self.root}/")
        name = PurePosixPath(key).name if below == key else below.lstrip("/")
        if ".." in PurePosixPath(name).parts:
            raise StoreError(
                f"{self.url} holds the name {name!r}, which leaves its folder; rename the object"
            )
        return name

    @contextmanager
    def _errors(self, *, missing_is_error: bool = True) -> Iterator[None]:
        """One line for whatever the store's library raises; its own texts hold neither keys nor tokens."""
        try:
            yield
        except DycktuneError:
            raise
        except FileNotFoundError as error:
            if missing_is_error:
                raise StoreError(f"{self.url} is not there ({_reason(error)}); correct the name") from error
        except Exception as error:  # each store's library has its own classes
            raise StoreError(f"{self.url}: {self._explained(error)}") from error

    def _explained(self, error: Exception) -> str:
        protocol = self.url.partition("://")[0]
        if isinstance(error, ImportError):
            remedy = _EXTRAS.get(protocol, "install fsspec's library for it")
            return f"the library for {protocol}:// is not installed; {remedy}"
        if isinstance(error, ValueError) and "not known" in str(error):
            return f"fsspec knows no {protocol}://; name a file, or a URL such as s3://bucket/key"
        if "Credentials" in type(error).__name__:
            return "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run: aws configure"
        if isinstance(error, PermissionError):
            return f"access is refused ({_reason(error)}); check the keys and what they may read and write"
        return f"the store cannot be used ({_reason(error)}); check the network and the name"


def local_copy(
    url: str, *, wanted: Callable[[str], bool] = lambda _: True, key: str = "", beside: str = ""
) -> Path:
    """The file or folder at a URL, in the cache of this machine; only files that have changed are copied again.

    Args:
        url: A file or folder of a store.
        wanted: Which files of a folder are copied, by their path below it.
        key: Another one for each `wanted`.
        beside: The end of a longer name: the file of that name is copied with a file, if it is there.

    Raises:
        StoreError: it is not there, or the store cannot be used.
    """
    from filelock import FileLock
    from huggingface_hub import cached_assets_path

    store = Store(url)
    files = {name: file for name, file in store.files(beside=beside).items() if wanted(name)}
    digest = hashlib.sha256(f"{store.url}\n{key}".encode()).hexdigest()[:16]
    folder = cached_assets_path("dycktune", "remote", digest)
    # The ranks of a machine read the same data at the same time.
    with FileLock(f"{folder}.lock"):
        record = folder.with_suffix(".json")
        update(folder, store, files, versions=read_json(record) if record.is_file() else {})
        write_json(record, {name: file.version for name, file in files.items()})
    is_file = any(file.key == store.root for file in files.values())
    return folder / name_of(url) if is_file else folder


@contextmanager
def written(out: str | Path) -> Iterator[Path]:
    """The place for a new file; for a URL one on this machine, which is copied there with all files beside it.

    Raises:
        StoreError: the store cannot be used, or not be written; before the block, or while the files are copied.
    """
    if not is_remote(out):
        yield Path(out)
        return
    folder_url, _, name = str(out).rpartition("/")
    store = Store(folder_url)
    store.require_writable()
    with TemporaryDirectory(prefix="dycktune-") as folder:
        yield Path(folder) / name
        for file in sorted(Path(folder).iterdir()):
            store.put(file, file.name)


def update(
    folder: Path, store: Store, files: Mapping[str, StoredFile], *, versions: Mapping[str, str]
) -> None:
    """Make `folder` hold these files of a store and no others, in this order; it has these versions of some already.

    The lock of a run folder stays: whoever calls this may hold it.
    """
    for path in [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK_NAME]:
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, file in files.items():
        if versions.get(name) != file.version or not (folder / name).is_file():
            store.get(file, folder / name)


def _version(facts: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={facts[key]}" for key in _VERSION_KEYS if key in facts)


def _reason(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
