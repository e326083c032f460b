"""Reads the training configurations of other programs into recipes."""

from dycktune.migration.migrate import Migration, migrate

__all__ = ["Migration", "migrate"]
