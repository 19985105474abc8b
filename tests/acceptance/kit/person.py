"""What the person in front of the terminal does: writes definitions, starts runs, looks, cancels, retries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar
from uuid import UUID, uuid4

from flowforge.client import AsyncClient
from flowforge.engine.engine import Endpoints
from flowforge.local import Home, status
from flowforge.settings import Settings
from tests.acceptance.kit.installation import Installation
from tests.acceptance.kit.sink import Effects
from tests.support.checker import check_at_rest
from tests.support.eventually import eventually_sync
from tests.support.servers import forget
from tests.support.sql import Sql

RECEIPT = "workflow.receipt.generated"

Document = dict[str, Any]
T = TypeVar("T")


class Tables(Sql):
    """A view of the tables that can look again after Postgres was away."""

    def reopen(self) -> None:
        """Connect again."""
        self.close()
        self.__init__(self.url)  # type: ignore[misc]


class Operator:
    """One test's hands on the installation."""

    def __init__(self, installation: Installation, effects: Effects, folder: Path) -> None:
        self.installation = installation
        self.shell = installation.shell
        self.effects = effects
        self.folder = folder
        self.sql = Tables(installation.database_url)
        #: A queue that only this test's workers serve.
        self.queue = f"q{uuid4().hex[:8]}"
        self._began = self.sql.value("SELECT clock_timestamp()")

    # -- definitions ---------------------------------------------------------------------------------------

    def flow(self, steps: str, name: str | None = None) -> Path:
        """Write a definition; `@sink` is the test's part of the outside world, `@queue` its queue."""
        name = name or f"flow-{uuid4().hex[:8]}"
        text = dedent(steps).replace("@sink", self.effects.url).replace("@queue", self.queue)
        path = self.folder / f"{name}.yaml"
        path.write_text(f"name: {name}\n{text.lstrip()}", encoding="utf-8")
        return path

    def publish(self, flow: Path) -> str:
        """Publish a definition without a command; return the workflow's name."""

        async def publish(client: AsyncClient) -> str:
            return (await client.publish(flow)).workflow

        return self._ask(publish)

    # -- runs ----------------------------------------------------------------------------------------------

    def run(self, flow: Path, *words: str, code: int = 0, **settings: str) -> Document:
        """Start a run and wait for it; it has to end with this exit code."""
        result = self.shell.type("run", str(flow), "--wait", "--json", *words, code=code, **settings)
        document: Document = result.document
        return document

    def start(self, flow: Path, *words: str, **settings: str) -> UUID:
        """Start a run and leave it running; return its id. Without options the quick way, through the client."""
        if not words and not settings:
            return self.start_many(flow, [None])[0]
        return UUID(self.shell.type("run", str(flow), "--json", *words, code=0, **settings).document["id"])

    def start_each(self, flow: Path, inputs: Sequence[Any]) -> list[UUID]:
        """Start runs one after the other."""
        return [self.start_many(flow, [one])[0] for one in inputs]

    def start_many(self, flow: Path | Document, inputs: Sequence[Any]) -> list[UUID]:
        """Start many runs of a file or a definition in one transaction: as many commands would take minutes."""

        async def start(client: AsyncClient) -> list[UUID]:
            version = await client.planned(flow if isinstance(flow, dict) else str(flow))
            return [run.id for run in await client.start_many([client.prepare(version, one) for one in inputs])]

        return self._ask(start)

    def _ask(self, question: Callable[[AsyncClient], Awaitable[T]]) -> T:
        where = Endpoints(self.installation.database_url, self.installation.redis_url)

        async def session() -> T:
            async with AsyncClient(Settings(), endpoints=where) as client:
                return await question(client)

        return asyncio.run(session())

    def show(self, run: UUID) -> Document:
        """Return the document of a run."""
        document: Document = self.shell.type("show", str(run), "--json").document
        return document

    def events(self, run: UUID | str) -> list[Document]:
        """Return the history of a run."""
        document = self.shell.type("events", str(run), "--json").document
        found: list[Document] = document["events"]
        return found

    def wait(self, *runs: UUID, code: int = 0) -> list[Document]:
        """Wait until runs have ended, with this exit code; return their documents."""
        result = self.shell.type("wait", "-", "--json", stdin="\n".join(map(str, runs)), code=code)
        document = result.document
        return document["runs"] if len(runs) > 1 else [document]

    def explained(self, run: UUID) -> Document:
        """Ask why a run waits without a command, as somebody does who waits for an answer."""

        async def explain(client: AsyncClient) -> Document:
            return (await client.explain(run)).document()

        return self._ask(explain)

    # -- looking from outside ------------------------------------------------------------------------------

    def becomes(self, run: UUID, status: str) -> None:
        """Wait until a run has a status."""
        eventually_sync(lambda: self.sql.status(run) == status, what=f"run {run} {status}")

    def step_becomes(self, run: UUID, step: str, status: str) -> None:
        """Wait until a step has a status."""
        eventually_sync(lambda: self.sql.steps(run).get(step) == status, what=f"step {step} {status}")

    def end_leases(self, *runs: UUID) -> None:
        """Let the leases of attempts end now, as they would in time: who held them is dead."""
        due = "UPDATE steps SET due_at = clock_timestamp() WHERE run_id = ANY(%s) AND status = 'running'"
        self.sql.do(due, list(runs))
        self.sql.do("UPDATE runs SET wake_at = clock_timestamp() WHERE id = ANY(%s)", list(runs))

    def ended(self, runs: Sequence[UUID], deadline: float = 100) -> dict[str, int]:
        """Wait until runs have ended; return how many there are of each status."""
        query = "SELECT status::text, count(*)::int FROM runs WHERE id = ANY(%s) GROUP BY 1"

        def counts() -> dict[str, int]:
            found = {str(status): int(count) for status, count in self.sql.rows(query, list(runs))}
            return found if not found.keys() - {"completed", "failed", "cancelled"} else {}

        answer: dict[str, int] = eventually_sync(counts, deadline, what="all runs end")
        return answer

    def at_rest(self) -> None:
        """Wait until nothing is under way any more, and check every invariant."""
        where = self.installation.database_url, self.installation.redis_url
        last: list[AssertionError] = []

        def holds() -> bool:
            try:
                check_at_rest(*where)
            except AssertionError as error:
                last[:] = [error]
                return False
            return True

        try:
            eventually_sync(holds)
        except AssertionError:
            raise last[-1] from None

    def stored(self) -> tuple[int, ...]:
        """Return how many workflows, versions, runs and events there are, but for receipts of runs before."""
        events = self.sql.value(f"SELECT count(*) FROM events WHERE type <> '{RECEIPT}'")
        return (*(self.sql.counts(table) for table in ("workflows", "workflow_versions", "runs")), int(events))

    def servers_are_up(self) -> bool:
        """Say whether a test left the servers as it found them."""
        return status(Home(self.installation.home)).running

    def close(self) -> None:
        """Leave nothing behind that a test after a failed one would stumble over."""
        self.sql.reopen()
        query = "SELECT id FROM runs WHERE created_at >= %s AND finished_at IS NULL"
        if left := [row[0] for row in self.sql.rows(query, self._began)]:
            self.sql.do("DELETE FROM runs WHERE id = ANY(%s)", left)
            for table in ("steps", "run_events", "outbox"):
                self.sql.do(f"DELETE FROM {table} WHERE run_id = ANY(%s)", left)
        installation = self.sql.value("SELECT left(id::text, 8) FROM installation")
        forget(self.installation.redis_url, f"ff:{installation}:q:{self.queue}*")
        self.sql.close()


def steps(document: Document) -> dict[str, Document]:
    """Return the steps of a run document by id."""
    return {step["id"]: step for step in document["steps"]}


def statuses(document: Document) -> dict[str, str]:
    """Return the statuses of the steps of a run document by id."""
    return {step["id"]: step["status"] for step in document["steps"]}


def types(events: Sequence[Document]) -> list[str]:
    """Return a history as words: `type` or `type step`; without the receipt, which comes when a worker gets to it."""
    return [" ".join(filter(None, (event["type"], event["step"]))) for event in events if event["type"] != RECEIPT]
