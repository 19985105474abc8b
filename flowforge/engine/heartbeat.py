"""The heartbeat: keeps a worker's leases, and tells it when one is gone.

    every lease/4    renew what was not renewed just now, by token          own thread, own connection
    row not found    the attempt is somebody else's: stop it, settle nothing
    given up         the fence has stopped it, or should have by now: let its lease end
    no answer        within a sixth of the lease: another connection, until one answers; nothing new is taken till then

A blocked event loop therefore loses nothing; what a worker cannot renew the fence stops. Stream entries are touched
only after their leases were renewed: Redis has no "if it is still mine".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

import psycopg

from flowforge.engine import clock, fence
from flowforge.engine.crash import crash_point
from flowforge.engine.holdings import Held, Holdings, Stop
from flowforge.model.json import InvalidJson, encode
from flowforge.store import leases
from flowforge.store.database import Impatient

log = logging.getLogger(__name__)

#: A lease this young, as a part of its length, waits for the next beat. That finds it at three eighths: what silence on
#: the connection then takes, and asking again over another one, still ends before the fence stops the attempt.
YOUNG = 1 / 8
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
        tell: fence.Tell,
    ) -> None:
        self._url, self._worker, self._holdings, self._lease = url, worker, holdings, lease
        self._tell = tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._drain_told = False
        self._paused: frozenset[str] | None = None
        self._connection: Impatient | None = None
        #: Called in the event loop with attempts whose leases were renewed, and when a drain is asked for.
        self.on_renewed: Callable[[Sequence[Held]], None] = lambda _: None
        self.on_drain: Callable[[], None] = lambda: None
        #: Called there with whether Postgres answers, when that has changed.
        self.on_answer: Callable[[bool], None] = lambda _: None
        self._answers = True
        #: Called there with the queues that nobody may take from, when they have changed.
        self.on_paused: Callable[[frozenset[str]], None] = lambda _: None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close its connection."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        pause = self._lease.total_seconds() / 4
        while not self._stopping.wait(pause):
            try:
                self.beat()
            except psycopg.Error as error:
                if self._answers:
                    log.warning("heartbeat waits: %s", str(error).strip().split("\n")[0])
                self._found(answers=False)
            except Exception:
                # A defect in one beat must not end the thread, for every lease would end with it.
                log.exception("heartbeat failed")
                self._found(answers=False)
            else:
                self._found(answers=True)
            pause = self._lease.total_seconds() / (16 if self._connection is None else 4)
        self._drop_connection()

    def _found(self, *, answers: bool) -> None:
        """Note what came of a beat; after a failed one another connection is asked."""
        if not answers:
            self._drop_connection()
        if answers != self._answers:
            self._answers = answers
            self._tell(lambda: self.on_answer(answers))

    def beat(self) -> None:
        """Renew what needs it, and report what was found."""
        connection = self._connect()
        self._obey(leases.seen(connection, self._worker))
        due = self._due()
        self._store_progress(connection)
        if not due:
            return
        asked = clock.now()
        found = leases.renew(connection, self._worker, [held.lease for held in due], self._lease)
        renewed = [held for held in due if held.lease in found.renewed]
        for held in renewed:
            held.renewed = asked
        crash_point("heartbeat.after_renew")
        self._tell(lambda: self.on_renewed(renewed))
        fence.stop([held for held in due if held.lease in found.lost], Stop.LOST, self._tell)
        fence.stop([held for held in due if held.lease in found.stops], Stop.CANCEL, self._tell)

    def _obey(self, wanted: leases.Seen | None) -> None:
        """Tell the worker what others want of it, once."""
        if wanted is None:
            return
        if wanted.status == "draining" and not self._drain_told:
            self._drain_told = True
            self._tell(self.on_drain)
        if wanted.paused != self._paused:
            self._paused = wanted.paused
            self._tell(lambda: self.on_paused(wanted.paused))

    def _due(self) -> list[Held]:
        """Return what has to be renewed: not what the fence stops, or would have stopped by now.

        A process that was frozen finds its heartbeat and its fence equally late. A lease that was prolonged while the
        sweeper was ending it would put two attempts to work at once.
        """
        now, lease = clock.now(), self._lease.total_seconds()
        given_up = now - lease * fence.STOP_AFTER
        return [
            held
            for held in self._holdings.all()
            if now - held.renewed >= lease * YOUNG and (held.settling or held.renewed >= given_up)
        ]

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

    def _connect(self) -> Impatient:
        if self._connection is None:
            patience = min(5.0, max(1.0, self._lease.total_seconds() / 6))
            self._connection = Impatient.to(self._url, patience)
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
