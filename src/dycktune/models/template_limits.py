"""Limits on chat templates: a model's folder or a GGUF file brings its own, and anyone may have written it.

transformers renders templates in Jinja's sandbox, which keeps them from files, modules and attributes of Python. It
bounds neither time nor the size of numbers; this module does.
"""

import ctypes
import mmap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from jinja2 import Environment

RENDER_SECONDS = 10.0
"""Longest time in which a template renders one conversation; usual ones need a thousandth of a second."""

RENDER_BYTES = 2**30
"""By how much the process may grow in a rendering that is no usual one."""

_LARGEST_NUMBER = 10**6
"""Largest number that a template may hold: text can be repeated so many times."""


_PERIOD = 0.1
"""Seconds between two looks at the renderings."""
_PAGE = mmap.PAGESIZE


class TemplateLimitError(Exception):
    """A template takes too much time or memory, or could."""


@cache
def check_template(template: str) -> None:
    """Refuse powers and huge numbers: one operation of these could take hours or all memory, and nothing can stop it.

    Raises:
        TemplateLimitError: the template holds one.
        jinja2.TemplateSyntaxError: it is no template.
    """
    before = ""
    for line, kind, text in Environment().lex(template):  # noqa: S701 - nothing is rendered here
        passes_arguments_on = before in ("(", ",")
        if kind == "operator" and text == "**" and not passes_arguments_on:
            raise TemplateLimitError(f"line {line} computes a power")
        if kind in ("integer", "float") and _is_huge(text, kind):
            raise TemplateLimitError(f"line {line} holds a number over {_LARGEST_NUMBER:,}")
        before = before if kind == "whitespace" else text


def _is_huge(text: str, kind: str) -> bool:
    digits = text.replace("_", "")
    if kind == "float":
        return float(digits) > _LARGEST_NUMBER
    return (
        len(digits) > 20
        or int(digits, 0 if digits[:2].lower() in ("0x", "0o", "0b") else 10) > _LARGEST_NUMBER
    )


@contextmanager
def limited() -> Iterator[None]:
    """Raise TemplateLimitError in this thread if the block, which is Python code, takes too much time or memory.

    A single call into C code, such as a product of numbers that the template has made large step by step, is not
    interrupted. Memory is watched where the system has `/proc`.
    """
    thread, entry = threading.get_ident(), _Entry()
    _watcher.add(thread, entry)
    try:
        yield
    finally:
        _watcher.remove(thread, entry)


class _Entry:
    """A block that is running."""

    def __init__(self) -> None:
        self._began, self._memory = time.monotonic(), _memory()
        self.stopped = False

    def is_over(self) -> bool:
        """Whether it has taken too much; a usual rendering ends long before it is looked at."""
        took = time.monotonic() - self._began
        return took > RENDER_SECONDS or (took > _PERIOD and _memory() - self._memory > RENDER_BYTES)


def _memory() -> int:
    """Bytes that this process holds in memory; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - it is read for each rendering
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0


class _Watcher:
    """One thread that looks after all blocks: a thread for each would cost more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, _Entry] = {}
        self._thread: threading.Thread | None = None

    def add(self, thread: int, entry: _Entry) -> None:
        with self._lock:
            self._running[thread] = entry
            if self._thread is None or not self._thread.is_alive():  # a forked process has lost it
                self._thread = threading.Thread(target=self._watch, daemon=True, name="template limits")
                self._thread.start()

    def remove(self, thread: int, entry: _Entry) -> None:
        with self._lock:
            self._running.pop(thread, None)
            if entry.stopped:  # an exception that has not arrived yet would hit later code
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)

    def _watch(self) -> None:
        pause = threading.Event()  # nothing sets it
        while True:
            pause.wait(_PERIOD)
            with self._lock:
                for thread, entry in self._running.items():
                    if not entry.stopped and entry.is_over():
                        entry.stopped = True
                        error = ctypes.py_object(TemplateLimitError)
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)


_watcher = _Watcher()
