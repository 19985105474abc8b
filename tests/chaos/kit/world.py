"""One scenario's world: a database of its own on the machine, workers, proxies before the servers, the sink, a seed.

A scenario breaks things and then calls `verify`, which waits for every run and checks every invariant.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import redis

from tests.acceptance.kit.installation import FUNCTIONS, Installation, Shell
from tests.acceptance.kit.person import Document, Operator
from tests.acceptance.kit.sink import Effects
from tests.acceptance.kit.workers import WorkerProcess
from tests.chaos.kit.audit import Audit, audit
from tests.chaos.kit.load import EFFECTS, SHAPES, Busy, Flaky
from tests.chaos.kit.machine import Machine
from tests.chaos.kit.proxy import Proxy
from tests.support.checker import check_at_rest
from tests.support.eventually import eventually_sync
from tests.support.sql import Sql

OWN_FUNCTIONS = Path(__file__).resolve().parent.parent / "functions"

#: Leases end while one watches, and a busy machine still renews them in time.
LEASE = 4.0
SETTINGS = {"lease": f"{LEASE:g}s", "kill_grace": "1s", "grace": "2s", "python_processes": "2"}
SLOW = "12 seconds"
#: Runs that have to complete: a world in which everything fails would violate nothing.
ENOUGH = 0.99


class Look(Sql):
    """A view of the tables that connects again when its server was away."""

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        try:
            return super().rows(query, *parameters)
        except psycopg.OperationalError:
            self.reopen()
            return super().rows(query, *parameters)

    def do(self, statement: str, *parameters: Any) -> int:
        """Run a statement; return how many rows it changed."""
        if self.connection.broken or self.connection.closed:
            self.reopen()
        return super().do(statement, *parameters)

    def reopen(self) -> None:
        """Connect again, as soon as the server is there."""

        def connected() -> bool:
            try:
                self.connection.close()
                self.__init__(self.url)  # type: ignore[misc]
            except psycopg.OperationalError:
                return False
            return True

        eventually_sync(connected, what="Postgres is there")


class World(Operator):
    """Everything one scenario needs."""

    def __init__(self, machine: Machine, database: str, effects: Effects, folder: Path, seed: str) -> None:
        self.machine = machine
        self.database = database
        #: All chance of a scenario comes from here.
        self.random = random.Random(seed)
        database_url = machine.servers.named(database)
        variables = {
            "FLOWFORGE_DATABASE_URL": database_url,
            "FLOWFORGE_REDIS_URL": machine.redis_url,
            "FLOWFORGE_ALLOW_LOOPBACK": "true",
            "FLOWFORGE_PATH": f"{FUNCTIONS}:{OWN_FUNCTIONS}",
        }
        shell = Shell(folder, variables)
        super().__init__(Installation(folder, shell, database_url, machine.redis_url), effects, folder)
        self.sql.close()
        self.sql: Look = Look(database_url)  # type: ignore[assignment]
        self.proxies: list[Proxy] = []
        self.workers: list[WorkerProcess] = []
        self.runs: list[UUID] = []
        self._published: dict[str, Path] = {}
        self._flaky = Flaky(2)

    # -- servers -------------------------------------------------------------------------------------------

    def proxy(self, server: str, **how: Any) -> Proxy:
        """Put a proxy before `postgres` or `valkey`; it passes everything until told otherwise."""
        self.proxies.append(Proxy(self.machine.socket(server), self.random.randrange(2**32), **how))
        return self.proxies[-1]

    def through(self, *, postgres: Proxy | None = None, valkey: Proxy | None = None) -> dict[str, Any]:
        """Return the settings of a worker that reaches servers through proxies."""
        settings: dict[str, Any] = {}
        if postgres is not None:
            address = f"flowforge@127.0.0.1:{postgres.port}/{self.database}"
            settings["database_url"] = f"postgresql://{address}?sslmode=disable&gssencmode=disable"
        if valkey is not None:
            settings["redis_url"] = f"redis://127.0.0.1:{valkey.port}/0"
        return settings

    @property
    def valkey(self) -> redis.Redis:
        """A client of the stream server."""
        return redis.Redis.from_url(self.machine.redis_url)

    @cached_property
    def prefix(self) -> str:
        """What every key of the installation begins with; asked for once, because Postgres may be away later."""
        return f"ff:{self.sql.value('SELECT left(id::text, 8) FROM installation')}"

    def stream(self, lane: str | None = None) -> str:
        """The dispatch stream of a lane."""
        return f"{self.prefix}:q:{lane or self.queue}"

    # -- workers -------------------------------------------------------------------------------------------

    def worker(self, *, ready: bool = True, inside: Sequence[str] = (), **settings: Any) -> WorkerProcess:
        """Start a worker of the scenario's queue."""
        chosen = {"queues": self.queue, **SETTINGS, **settings}
        variables = {name: chosen.pop(name) for name in ("PYTHONPATH",) if name in chosen}
        log = self.folder / f"worker-{len(self.workers)}.log"
        one = WorkerProcess(self.shell, log, self.installation.database_url, inside=inside, **variables, **chosen)
        self.workers.append(one)
        return one.ready() if ready else one

    def some_workers(self, count: int, **settings: Any) -> list[WorkerProcess]:
        """Start workers side by side."""
        started = [self.worker(ready=False, **settings) for _ in range(count)]
        return [one.ready() for one in started]

    def alive(self) -> list[WorkerProcess]:
        """Return the workers that run."""
        return [one for one in self.workers if one.process.poll() is None]

    def holder(self, run: UUID, step: str) -> WorkerProcess:
        """Return the worker that runs a step now."""
        query = """
        SELECT w.pid FROM steps s JOIN runs r ON r.id = s.run_id JOIN workers w ON w.id = s.worker
        JOIN workflow_steps f ON f.version_id = r.version_id AND f.step_no = s.step_no
        WHERE s.run_id = %s AND f.step_id = %s AND s.status = 'running'
        """
        ((pid,),) = eventually_sync(lambda: self.sql.rows(query, run, step), what=f"step {step} runs")
        return next(one for one in self.workers if one.pid == pid)

    def lines(self, text: str) -> list[str]:
        """Return the lines of all workers' logs that contain a text."""
        return [line for one in self.workers for line in one.said.splitlines() if text in line]

    # -- runs ----------------------------------------------------------------------------------------------

    def load(self, count: int, shapes: Iterable[str] = tuple(SHAPES), *, longest: float = 0.05) -> list[UUID]:
        """Start runs of shapes, mixed; effects take up to *longest* seconds."""
        names = list(shapes)
        for path in EFFECTS:
            self.effects.answer(path, Busy(longest, random.Random(self.random.random())))
        # The same for all loads: another one would begin to count anew, and refuse runs under way for ever.
        self.effects.answer("flaky", self._flaky)
        parts = [[{"n": no} for no in range(start, count, len(names))] for start in range(len(names))]
        return [run for name, part in zip(names, parts, strict=True) for run in self.begin(name, part)]

    def begin(self, shape: str, inputs: Sequence[Any]) -> list[UUID]:
        """Start runs of one shape in one transaction."""
        if not inputs:
            return []
        if shape not in self._published:
            self._published[shape] = self.flow(SHAPES[shape], name=shape)
        return self.start_many(self._published[shape], inputs)

    def start_many(self, flow: Path | Document, inputs: Sequence[Any]) -> list[UUID]:
        """Start many runs in one transaction, and remember them."""
        started = super().start_many(flow, inputs)
        self.runs = list(dict.fromkeys([*self.runs, *started]))
        return started

    def start(self, flow: Path, *words: str, **settings: str) -> UUID:
        """Start one run, and remember it."""
        started = super().start(flow, *words, **settings)
        self.runs = list(dict.fromkeys([*self.runs, started]))
        return started

    def happened(self, count: int) -> None:
        """Wait until so many effects happened, of whatever run."""
        eventually_sync(lambda: len(self.effects.calls()) >= count, what=f"{count} effects")

    # -- the end -------------------------------------------------------------------------------------------

    def verify(
        self,
        *,
        deadline: float = 120,
        enough: float = ENOUGH,
        crashes: int | None = None,
        repeated: int | None = None,
        lost_time: bool = False,
    ) -> Audit:
        """Wait until everything has ended; every invariant has to hold, and nearly all runs to have completed.

        *crashes* is how many attempts may have been lost with their worker; *repeated* how many calls may have been
        made again without the sink having asked for that by an error. With *lost_time* the database was set back, and
        what the sink saw belongs to more than one past.
        """
        ends = self.ended(self.runs, deadline) if self.runs else {}
        share = (ends.get("completed", 0) + self.undone()) / max(1, len(self.runs))
        assert share >= enough, f"{ends}: too few completed. {self.why()}"
        self._tell_slowest()
        self.at_rest()
        found = audit(self.sql, self.effects.calls())
        assert lost_time or not found.wrong, "\n".join(found.wrong[:30])
        if crashes is not None:
            self.lost_at_most(crashes)
        if repeated is not None:
            asked = self.sql.value("SELECT sum(greatest(attempt - 1 - crashes, 0))::int FROM steps")
            assert found.repeated - asked <= repeated, f"{found.repeated} - {asked} calls were repeated unasked"
        return found

    def undone(self) -> int:
        """Count the runs that have failed as they should, and of which everything is undone: the sagas of the load."""
        query = """
        SELECT count(*)::int FROM runs r JOIN workflows w ON w.id = r.workflow_id
        WHERE w.name = 'saga' AND r.status = 'failed' AND r.error->>'step' = 'ship'
          AND NOT EXISTS (SELECT FROM steps s WHERE s.run_id = r.id AND s.status = 'completed' AND s.step_no < 3)
        """
        return int(self.sql.value(query))

    def lost_at_most(self, crashes: int) -> None:
        """Count the attempts that were lost with their worker; tell of one when there are too many."""
        lost = self.sql.value("SELECT coalesce(sum(crashes), 0)::int FROM steps")
        if lost > crashes:
            self._tell(*self.sql.rows("SELECT run_id FROM steps WHERE crashes > 0 LIMIT 1")[0])
        assert lost <= crashes, f"{lost} attempts were lost, at most {crashes} may be"

    def at_rest(self, deadline: float = 150) -> None:
        """Wait until nothing is under way any more, and check every invariant."""
        where = self.installation.database_url, self.machine.redis_url
        last: list[AssertionError] = []

        def holds() -> bool:
            try:
                check_at_rest(*where, all_receipts=True)
            except AssertionError as error:
                last[:] = [error]
                return False
            return True

        try:
            eventually_sync(holds, deadline)
        except AssertionError:
            raise last[-1] from None

    def _tell_slowest(self) -> None:
        """Print where the time of the slowest run went, when that is long: a rescue that came late, mostly."""
        query = "SELECT id, finished_at - created_at FROM runs WHERE finished_at - created_at > %s::interval ORDER BY 2"
        slow = self.sql.rows(query, SLOW)
        for run, took in slow[-1:]:
            print(f"{len(slow)} runs took longer than {SLOW}, one of them {took}:")
            self._tell(run)

    def _tell(self, run: UUID) -> None:
        """Print the history of a run."""
        history = "SELECT at, type, step, data FROM events WHERE run_id = %s ORDER BY seq"
        for at, kind, step, data in self.sql.rows(history, run):
            print(f"    {at:%H:%M:%S.%f} {kind} {step or ''} {data or ''}")

    def why(self) -> str:
        """Say why runs did not complete."""
        query = "SELECT error->>'code', error->>'message', count(*) FROM runs WHERE status <> 'completed' GROUP BY 1, 2"
        return str(self.sql.rows(query)[:10])

    def servers_are_up(self) -> bool:
        """Say whether the machine is as it was found."""
        return self.machine.runs("postgres") and self.machine.runs("valkey")

    def close(self) -> None:
        """End every process and connection of the scenario."""
        self.effects.close()
        for proxy in self.proxies:
            proxy.restore()
        for one in self.alive():
            one.kill()
        for proxy in self.proxies:
            proxy.close()
        self.sql.close()
