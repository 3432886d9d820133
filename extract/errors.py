"""Errors that stop a run or a command. Each message is one line that says what to fix."""

from __future__ import annotations


class TradehouseError(Exception):
    """The base class: the command prints the message and ends with exit code 2."""


class SettingsError(TradehouseError):
    """Settings that cannot work; the message names each one and what it needs."""


class SourceError(TradehouseError):
    """A source cannot be read; the message says why and what to do."""

    pause: float = 0.0
    """Seconds for which a service sends no request, because the source has asked for a pause or blocks it."""


class SourceBusyError(SourceError):
    """Another program holds the source's file; it may be free a moment later."""


class WarehouseError(TradehouseError):
    """The warehouse cannot be used."""


class WarehouseUnavailableError(WarehouseError):
    """The warehouse does not answer, or the connection broke; it may be back a moment later."""


class TransformError(TradehouseError):
    """dbt could not run at all; the message is dbt's own."""


class QueryError(TradehouseError):
    """A query cannot be run."""


class LockHeldError(Exception):
    """Another run of the source holds the lock; the message says which. The command ends with exit code 0."""
