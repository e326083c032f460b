"""Which checkpoint of a run to deploy, decided by verified answers."""

from dycktune.selection.choose import Selection, select

__all__ = ["Selection", "select"]
