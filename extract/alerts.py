"""Tells people of a service's troubles: once when one has lasted, once when it goes. State in `ops.alerts`."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

import psycopg2
from psycopg2.extras import execute_values

from extract.alert_sending import LONGEST_QUEUE, SEND_SECONDS, START_SECONDS, Receiver, receivers, send
from extract.errors import WarehouseError
from extract.records import RETENTION_DAYS
from extract.settings import Settings
from extract.troubles import Message, Trouble, Troubles
from extract.warehouse import Connection, Warehouse, complaint, transaction, value

log = logging.getLogger("tradehouse")

ENDING = SEND_SECONDS + START_SECONDS + 5.0
"""Seconds that the service's end waits for a send at work, which ends within less; usually within one."""
AFTER_A_FAULT = 60.0
"""Seconds the thread waits after an error that nobody expected."""


class Alerts:
    """The alerts of one service. A thread sends them, so that no tick waits for a receiver.

    The service says what troubles there are (`note`, `clear`, `settle`). It also reads and writes the record, over its
    own connection, when the warehouse answers (`recall`, `keep`). Without ALERT_URLS nothing is done.

    Args:
        source: the name of the service's source.
        settings: ALERT_URLS and ALERT_AFTER.

    Raises:
        SettingsError: Apprise cannot read a URL.
    """

    def __init__(self, source: str, settings: Settings) -> None:
        self._receivers = receivers(settings)
        self._troubles = Troubles(source, timedelta(seconds=settings.alert_after))
        self._changed = threading.Condition()  # guards all of this
        self._is_recalled = False
        self._is_ending = False
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        if self._receivers:
            self._thread.start()

    def note(self, name: str, text: str) -> None:
        """A trouble is there."""
        if self._receivers:
            with self._changed:
                self._troubles.note(name, text)
                self._changed.notify()

    def clear(self, *names: str) -> None:
        """These have no trouble now."""
        if self._receivers:
            with self._changed:
                self._troubles.clear(*names)
                self._changed.notify()

    def settle(self) -> None:
        """All has been looked at: what is only on record has ended."""
        if self._receivers:
            with self._changed:
                self._troubles.settle()
                self._changed.notify()

    @property
    def is_pending(self) -> bool:
        """Whether there is something to write, or will be before the next trouble."""
        return bool(self._receivers) and (self._troubles.is_pending or any(each.queue for each in self._receivers))

    @property
    def is_unwritten(self) -> bool:
        """Whether something differs from the record."""
        return bool(self._receivers) and self._troubles.is_unwritten

    def recall(self, warehouse: Warehouse, connection: Connection) -> None:
        """Go on from the record of an earlier process. The first call that succeeds does it.

        Raises:
            WarehouseError: it cannot be read.
        """
        if self._is_recalled or not self._receivers:
            return
        try:
            recorded = _read(connection, self._troubles.source)
        except psycopg2.Error as error:
            raise _failed("read", error, warehouse) from None
        with self._changed:
            self._troubles.restore(recorded)
            self._is_recalled = True
            self._changed.notify()

    def keep(self, warehouse: Warehouse, connection: Connection) -> None:
        """Bring the record up to date.

        Raises:
            WarehouseError: it cannot be written.
        """
        self.recall(warehouse, connection)
        with self._changed:
            troubles = self._troubles.take_unwritten()
            gone = [each for each in troubles if each.is_passing]
            rows = [_row(self._troubles.source, each) for each in troubles if not each.is_passing]
        try:
            _write(connection, self._troubles.source, rows, gone)
        except psycopg2.Error as error:
            with self._changed:
                self._troubles.put_back(troubles)
            raise _failed("written", error, warehouse) from None
        for each in troubles:
            each.recorded = True

    def close(self) -> None:
        """End the thread, after the send that is at work."""
        if not self._receivers:
            return
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._thread.join(ENDING)
        for each in self._receivers:
            if each.queue:
                log.warning("alert URL %d: %d messages were not taken", each.position, len(each.queue))

    def _work(self) -> None:
        while not self._is_ending:
            try:
                self._send_or_wait()
            except Exception as error:  # its words may hold a URL
                log.error("alerts: unexpected %s", type(error).__name__)
                with self._changed:
                    self._changed.wait_for(lambda: self._is_ending, AFTER_A_FAULT)

    def _send_or_wait(self) -> None:
        with self._changed:
            for message in self._troubles.due_messages():
                for each in self._receivers:
                    if not each.add(message):
                        log.error(
                            "alert URL %d: %d messages wait, the oldest was dropped", each.position, LONGEST_QUEUE
                        )
            at = time.monotonic()
            batch = {each.position: each.queue[0] for each in self._receivers if each.queue and each.next_at <= at}
            if not batch:
                if not self._is_ending:
                    self._changed.wait(self._seconds_to_wait(at))
                return
        failures = send([each for each in self._receivers if each.position in batch], batch)
        with self._changed:
            for each in self._receivers:
                if each.position in batch:
                    self._conclude(each, batch[each.position], failures[each.position])

    def _seconds_to_wait(self, at: float) -> float | None:
        """How long nothing is to do if nothing changes; None: for ever."""
        waits = [each.next_at - at for each in self._receivers if each.queue]
        due_at = self._troubles.due_at()
        if due_at is not None:
            waits.append((due_at - self._troubles.clock()).total_seconds())
        return max(0.0, min(waits)) if waits else None

    def _conclude(self, receiver: Receiver, message: Message, failure: str | None) -> None:
        if failure is None:
            if receiver.queue and receiver.queue[0] is message:
                receiver.queue.popleft()
            if receiver.failures:
                log.info("alert URL %d: cleared", receiver.position)
            receiver.failures = 0
            self._troubles.taken(message)
            return
        if not receiver.failures:
            log.error("alert URL %d: %s", receiver.position, failure)
        receiver.failures += 1
        receiver.next_at = time.monotonic() + receiver.wait


def _read(connection: Connection, source: str) -> list[Trouble]:
    """The troubles on record whose end has not been told."""
    if value(connection, "select to_regclass('ops.alerts')") is None:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "select trouble, reason, since, told_at, cleared_at from ops.alerts"
            " where source = %s and end_told_at is null order by since",
            (source,),
        )
        return [Trouble(*row) for row in cursor.fetchall()]


def _row(source: str, trouble: Trouble) -> tuple[object, ...]:
    moments = (trouble.told_at, trouble.cleared_at, trouble.end_told_at)
    text = trouble.text.replace("\0", "")  # Postgres stores any other character
    return (source, trouble.name, trouble.since, text, *moments)


def _write(connection: Connection, source: str, rows: list[tuple[object, ...]], gone: list[Trouble]) -> None:
    with transaction(connection), connection.cursor() as cursor:
        if rows:
            execute_values(
                cursor,
                "insert into ops.alerts (source, trouble, since, reason, told_at, cleared_at, end_told_at) values %s"
                " on conflict (source, trouble, since) do update set reason = excluded.reason,"
                " told_at = excluded.told_at, cleared_at = excluded.cleared_at, end_told_at = excluded.end_told_at",
                rows,
            )
        for trouble in gone:
            if trouble.recorded:
                cursor.execute(
                    "delete from ops.alerts where source = %s and trouble = %s and since = %s",
                    (source, trouble.name, trouble.since),
                )
        cursor.execute(
            "delete from ops.alerts where source = %s and cleared_at < clock_timestamp() - make_interval(days => %s)",
            (source, RETENTION_DAYS),
        )


def _failed(done: str, error: psycopg2.Error, warehouse: Warehouse) -> WarehouseError:
    return WarehouseError(f"ops.alerts cannot be {done}: {complaint(error, warehouse.uri)}")
