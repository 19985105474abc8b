"""People and programs that steer runs while these end: scenarios 31, 32 and 33."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.engine.engine import Endpoints
from flowforge.errors import Conflict
from flowforge.model.documents import Run
from flowforge.settings import Settings
from tests.acceptance.kit.installation import FLOWFORGE
from tests.chaos.kit.load import LINEAR, PYTHON, Flaky
from tests.chaos.kit.world import World
from tests.support.eventually import eventually_sync

T = TypeVar("T")


def asked(
    world: World,
    question: Callable[[list[AsyncClient]], Awaitable[T]],
    clients: int = 4,
    settings: Settings | None = None,
) -> T:
    """Ask with several clients at the same time."""
    where = Endpoints(world.installation.database_url, world.machine.redis_url)

    async def session() -> T:
        opened = [await AsyncClient(settings or Settings(), endpoints=where).open() for _ in range(clients)]
        try:
            return await question(opened)
        finally:
            for one in opened:
                await one.close()

    return asyncio.run(session())


@pytest.mark.quick
def test_31_cancelling_at_any_moment_leaves_one_end(world: World):
    """200 runs, each cancelled at another moment between its start and after its end: cancelled or completed, one
    ending in its history, its place at the gate free again."""
    world.some_workers(2, lease="20s", grace="1s")
    world.load(7)
    world.ended(world.runs)
    gate = "concurrency: 20"
    flows = [
        world.flow(text.replace("concurrency: unlimited", gate), name=f"cancelled-{name}")
        for name, text in (("linear", LINEAR), ("python", PYTHON))
    ]
    runs = [
        run for flow, count in zip(flows, (150, 50), strict=True) for run in world.start_many(flow, [{"n": 1}] * count)
    ]
    moments = [world.random.uniform(0, 2) for _ in runs]

    async def cancel(clients: list[AsyncClient]) -> Counter[str]:
        # On a busy machine more at once would wait for a connection until the client gives up.
        turns = asyncio.Semaphore(2 * len(clients))

        async def one(client: AsyncClient, run: UUID, moment: float) -> str:
            await asyncio.sleep(moment)
            try:
                async with turns:
                    return str((await client.cancel(run)).status.value)
            except Conflict:
                return "conflict"

        jobs = [one(clients[no % len(clients)], run, moments[no]) for no, run in enumerate(runs)]
        return Counter(await asyncio.gather(*jobs))

    answers = asked(world, cancel)
    ends = world.ended(runs)
    assert ends.keys() <= {"cancelled", "completed"}
    assert ends.get("completed", 0) == answers["conflict"]
    query = """
    SELECT run_id, count(*) FROM events WHERE type IN ('workflow.completed', 'workflow.cancelled', 'workflow.failed')
    GROUP BY 1 HAVING count(*) <> 1
    """
    assert world.sql.rows(query) == []
    print(f"{ends}; answered {dict(answers)}")
    world.verify(enough=0, crashes=0, repeated=0)


REPAIRED = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: a, type: http, config: {method: POST, url: "@sink/a/{{ run.id }}"}}
      - {id: b, type: http, depends_on: a, retry: {max_attempts: 1}, config: {url: "@sink/b/{{ run.id }}"}}
"""


def test_32_of_two_operators_who_retry_at_once_one_wins(world: World):
    """A hundred failed runs, two retries each at the same time: one new attempt, and a conflict for the other.

    Cancelling is the same for both: it is a wish, and may be repeated.
    """
    world.effects.answer("b", Flaky(1))
    world.some_workers(2, lease="20s")
    runs = world.start_many(world.flow(REPAIRED), [{}] * 100)
    assert world.ended(runs) == {"failed": 100}

    async def retry(clients: list[AsyncClient]) -> list[list[Any]]:
        async def both(run: UUID) -> list[Any]:
            return await asyncio.gather(*(client.retry(run) for client in clients), return_exceptions=True)

        return [await both(run) for run in runs]

    for answers in asked(world, retry, clients=2):
        kinds = sorted(type(answer).__name__ for answer in answers)
        assert kinds == ["Conflict", "Run"], answers
    assert world.ended(runs) == {"completed": 100}
    attempts = "SELECT DISTINCT attempt FROM steps s WHERE step_no = %s"
    assert world.sql.rows(attempts, 0) == [(1,)]
    assert world.sql.rows(attempts, 1) == [(2,)]
    world.verify(crashes=0, repeated=0)


def test_32_of_two_commands_that_retry_at_once_one_wins(world: World):
    """The same with real commands: exit codes 0 and 7, the second with the state that it found."""
    world.effects.answer("b", Flaky(1))
    world.worker(lease="20s")
    runs = world.start_many(world.flow(REPAIRED), [{}] * 5)
    assert world.ended(runs) == {"failed": 5}
    for run in runs:
        commands = [
            subprocess.Popen(
                [*FLOWFORGE, "retry", str(run), "--json"],
                env=world.shell.environment(),
                cwd=world.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        said = {one.wait(60): one.communicate()[1] for one in commands}
        assert sorted(said) == [0, 7], said
        assert "only a failed or cancelled run can be retried" in said[7]
    assert world.ended(runs) == {"completed": 5}
    world.verify(crashes=0, repeated=0)


def test_33_one_key_is_one_run_however_many_ask_at_once(world: World):
    """Fifty starts with the same key in parallel are one run for all; the same key with another input is a conflict."""
    world.some_workers(1, lease="20s")
    flow = world.flow(LINEAR)
    name = world.publish(flow)

    async def start(clients: list[AsyncClient]) -> list[Run]:
        jobs = [one.run(name, {"n": 1}, idempotency_key="once") for one in clients for _ in range(10)]
        return await asyncio.gather(*jobs)

    answers = asked(world, start, clients=5)
    assert len({run.id for run in answers}) == 1
    assert sum(not run.duplicate for run in answers) == 1
    world.runs = [answers[0].id]
    eventually_sync(lambda: world.sql.counts("runs") == 1, what="one run")

    async def other(clients: list[AsyncClient]) -> list[Any]:
        jobs = [one.run(name, {"n": 2}, idempotency_key="once") for one in clients for _ in range(3)]
        return await asyncio.gather(*jobs, return_exceptions=True)

    assert {type(answer) for answer in asked(world, other)} == {Conflict}
    result = world.shell.type("run", name, "-i", "n=2", "--idempotency-key", "once", code=7)
    result.refused("another input")
    again = world.shell.type("run", name, "-i", "n=1", "--idempotency-key", "once", "--json").document
    assert again["id"] == str(answers[0].id)
    world.verify(crashes=0, repeated=0)
    query = "SELECT count(*)::int FROM events WHERE type = 'workflow.duplicate_prevented'"
    assert world.sql.value(query) == 50


def test_33_a_key_that_has_expired_is_a_new_run_for_all_who_ask(world: World):
    """After its window a key is free: twenty who ask at once are given one new run, the old one stays as it is."""
    world.some_workers(1, lease="20s")
    name = world.publish(world.flow(LINEAR))
    window = Settings(idempotency_window=timedelta(seconds=30))

    async def start(clients: list[AsyncClient]) -> list[Run]:
        jobs = [one.run(name, {"n": 1}, idempotency_key="again") for one in clients for _ in range(5)]
        return await asyncio.gather(*jobs)

    first = {run.id for run in asked(world, start, settings=window)}
    # An hour passes, as far as the key is concerned.
    world.sql.do("UPDATE runs SET created_at = created_at - interval '1 hour'")
    second = {run.id for run in asked(world, start, settings=window)}
    assert len(first) == len(second) == 1
    assert first != second
    world.sql.do("UPDATE runs SET created_at = created_at + interval '1 hour' WHERE id = ANY(%s)", list(first))
    world.runs = [*first, *second]
    world.verify(crashes=0, repeated=0)
    assert world.sql.counts("runs") == 2
