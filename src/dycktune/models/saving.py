"""A disk that is full, whichever library finds out."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NUMBER = re.compile(r"\(os error (\d+)\)")
_SIGNS = ("PytorchStreamWriter", "inline_container", "iostream error", "unexpected pos")
"""Words in the errors of torch.save where a file cannot be written; they have no error number."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a library's own report of a full or failing disk into an error of the system that names `path`.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # tokenizers raise nothing more specific
        if found := _NUMBER.search(str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
        if not any(sign in str(error) for sign in _SIGNS):
            raise
        reason = f"the disk is full, or fails ({str(error).splitlines()[0]})"
        raise OSError(errno.ENOSPC, reason, str(path)) from error
