"""The errors that mean "this run could not do its work": each message is one line that says what to fix."""

from __future__ import annotations


class TradehouseError(Exception):
    """The root of them all: the command prints its message and ends with exit code 2."""


class SettingsError(TradehouseError):
    """Settings that cannot work; the message names each one and what it needs."""


class SourceError(TradehouseError):
    """A source cannot be read; the message says why and what to do."""

    pause: float = 0.0
    """Seconds in which a service sends nothing more: what it asks has had enough of it."""


class SourceBusyError(SourceError):
    """Another program holds the source's file; it may be free the next moment."""


class WarehouseError(TradehouseError):
    """The warehouse cannot be used."""


class WarehouseUnavailableError(WarehouseError):
    """The warehouse does not answer or broke off; it may be back the next moment."""


class TransformError(TradehouseError):
    """dbt could not run at all; the message is its own."""


class QueryError(TradehouseError):
    """A query cannot be run."""


class LockHeldError(Exception):
    """Another run of the source holds the lock; the message says which. The command ends with exit code 0."""
