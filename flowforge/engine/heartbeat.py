"""The heartbeat: keeps a worker's leases, and tells it when one is gone.

    every lease/4    renew what was not renewed lately, by token            own thread, own connection
    row not found    the attempt is somebody else's: stop it, settle nothing
    2/3 of a lease   without a confirmed renewal, on the monotonic clock: stop everything before the lease ends

A blocked event loop therefore loses nothing, and a worker that cannot reach Postgres stops its own work before
anybody else may start it. Stream entries are touched only after their leases were renewed: Redis has no "if it is
still mine".
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import psycopg

from flowforge.engine.crash import crash_point
from flowforge.engine.holdings import Held, Holdings, Stop
from flowforge.model.json import InvalidJson, encode
from flowforge.store import leases
from flowforge.store.database import PARAMETERS

log = logging.getLogger(__name__)

#: Bytes of a progress value.
MAX_PROGRESS = 16 * 1024


class Heartbeat:
    """A thread that renews leases; its findings are handed to the event loop."""

    def __init__(
        self,
        url: str,
        worker: str,
        holdings: Holdings,
        lease: timedelta,
        tell: Callable[[Callable[[], None]], object],
    ) -> None:
        self._url, self._worker, self._holdings, self._lease = url, worker, holdings, lease
        #: Runs a function in the event loop: `loop.call_soon_threadsafe`.
        self._tell = tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._drain_told = False
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        #: Called in the event loop with attempts whose leases were renewed, and when a drain is asked for.
        self.on_renewed: Callable[[Sequence[Held]], None] = lambda _: None
        self.on_drain: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close its connection."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        pause = self._lease.total_seconds() / 4
        failures = 0
        while not self._stopping.wait(pause):
            try:
                self.beat()
                failures = 0
            except psycopg.Error as error:
                self._drop_connection()
                failures += 1
                if failures == 1:
                    log.warning("heartbeat waits: %s", str(error).strip().split("\n")[0])
            self.fence()
            pause = self._lease.total_seconds() / (16 if self._connection is None else 4)
        self._drop_connection()

    def beat(self) -> None:
        """Renew what needs it, and report what was found."""
        connection = self._connect()
        if leases.seen(connection, self._worker) == "draining" and not self._drain_told:
            self._drain_told = True
            self._tell(self.on_drain)
        quarter = self._lease.total_seconds() / 4
        due = [held for held in self._holdings.all() if time.monotonic() - held.renewed >= quarter]
        self._store_progress(connection)
        if not due:
            return
        asked = time.monotonic()
        found = leases.renew(connection, [held.lease for held in due], self._lease)
        renewed = [held for held in due if held.lease in found.renewed]
        for held in renewed:
            held.renewed = asked
        crash_point("heartbeat.after_renew")
        self._tell(lambda: self.on_renewed(renewed))
        self._interrupt([held for held in due if held.lease in found.lost], Stop.LOST)
        self._interrupt([held for held in due if held.lease in found.stops], Stop.CANCEL)

    def fence(self) -> None:
        """Stop attempts whose lease could not be confirmed for two thirds of its time."""
        limit = time.monotonic() - self._lease.total_seconds() * 2 / 3
        self._interrupt([held for held in self._holdings.all() if held.renewed < limit], Stop.LOST)

    def _interrupt(self, which: Sequence[Held], why: Stop) -> None:
        for held in which:
            if held.stop is None and not held.settling:
                if why is Stop.LOST:
                    log.warning("lease of %s is gone; stopping the attempt", held.name)
                self._tell(lambda held=held: held.interrupt(why))  # type: ignore[misc]

    def _store_progress(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        latest = {}
        for held in self._holdings.all():
            value, held.progress = held.progress, None
            if value is not None:
                try:
                    latest[held.lease] = encode(value, max_bytes=MAX_PROGRESS)
                except InvalidJson as error:
                    log.warning("progress of %s is not stored: it %s", held.name, error)
        if latest:
            leases.progress(connection, latest)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        if self._connection is None:
            options = PARAMETERS["options"] + " -c statement_timeout=5s"
            parameters = PARAMETERS | {"options": options, "connect_timeout": 3}
            self._connection = psycopg.connect(self._url, autocommit=True, **parameters)
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
