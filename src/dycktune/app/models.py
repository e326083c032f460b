"""The loaded models: a few at a time, each asked by one thread at a time."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dycktune.models.loading import LoadedModel

MAX_LOADED = 3
"""Two side by side, and the one before."""


class Models:
    """Loads models when they are first asked, and keeps the last few."""

    def __init__(self) -> None:
        self._loading = Lock()
        self._loaded: OrderedDict[str, tuple[LoadedModel, Lock]] = OrderedDict()

    def holds(self, reference: str) -> bool:
        """Whether a model is loaded."""
        return reference in self._loaded

    @contextmanager
    def borrow(self, reference: str) -> "Iterator[LoadedModel]":
        """A model that no other thread asks meanwhile. Raises ModelError where it cannot be loaded."""
        model, lock = self._get(reference)
        with lock:
            yield model

    def _get(self, reference: str) -> "tuple[LoadedModel, Lock]":
        with self._loading:
            if reference not in self._loaded:
                from dycktune.models.loading import load

                self._loaded[reference] = (load(reference), Lock())
            self._loaded.move_to_end(reference)
            while len(self._loaded) > MAX_LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[reference]
