"""Real servers for the whole session, a database of its own for each test, and an engine on top of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import redis

from flowforge.client import AsyncClient
from flowforge.engine.engine import Endpoints, Engine
from flowforge.engine.worker import Worker
from flowforge.settings import Settings
from flowforge.steps.registry import Executors, build
from flowforge.steps.settings import StepSettings
from tests.support.beats import beat_often
from tests.support.checker import check_at_rest
from tests.support.eventually import eventually as poll
from tests.support.hand import Hand
from tests.support.servers import Servers, Stock, forget, running
from tests.support.servers import template as make_template
from tests.support.sql import Sql

MakeEngine = Callable[..., Awaitable[Engine]]
StartWorker = Callable[..., Awaitable[Worker]]


@pytest.fixture(scope="session")
def session_servers() -> Iterator[Servers]:
    """One Postgres and one Valkey."""
    with running() as servers:
        yield servers


@pytest.fixture(scope="session")
def template(session_servers: Servers) -> Iterator[str]:
    """The name of a migrated database."""
    with make_template(session_servers) as name:
        yield name


@pytest.fixture(scope="session")
def stock(session_servers: Servers, template: str) -> Iterator[Stock]:
    """Databases that are made before they are needed."""
    made = Stock(session_servers, template)
    yield made
    made.close()


@pytest.fixture
def endpoints(session_servers: Servers, stock: Stock) -> Iterator[Endpoints]:
    """An empty installation: its database is the test's own, and so are its names in Redis."""
    with stock.lend() as url:
        yield Endpoints(url, session_servers.redis_url)


@pytest.fixture
def settings(endpoints: Endpoints) -> Settings:
    """Settings for the installation; nothing is decided by time-outs unless a test shortens them."""
    return Settings(
        database_url=endpoints.database_url,
        redis_url=endpoints.redis_url,
        concurrency=64,
        python_processes=2,
        allow_loopback=True,
        # A receipt appends to a history whenever it likes; who wants it asks for it.
        receipts=False,
    )


@pytest.fixture
def sql(endpoints: Endpoints) -> Iterator[Sql]:
    """A look at the tables."""
    one = Sql(endpoints.database_url)
    yield one
    one.close()


@pytest.fixture
def valkey_client(endpoints: Endpoints) -> Iterator[redis.Redis]:
    """A look at the streams."""
    with redis.Redis.from_url(endpoints.redis_url) as client:
        yield client


@pytest.fixture
async def make_engine(endpoints: Endpoints, settings: Settings) -> AsyncIterator[MakeEngine]:
    """A factory of engines on the installation, with settings of their own."""
    made: list[Engine] = []

    async def make(*, connections: int = 6, redis_url: str | None = None, **changes: Any) -> Engine:
        where = Endpoints(endpoints.database_url, redis_url or endpoints.redis_url)
        made.append(Engine(where, settings.model_copy(update=changes), connections=connections))
        return await made[-1].open()

    yield make
    for engine in made:
        await engine.close()


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    """An engine on the installation."""
    return await make_engine()


@pytest.fixture
async def client(settings: Settings, endpoints: Endpoints) -> AsyncIterator[AsyncClient]:
    """A client of the installation."""
    async with AsyncClient(settings, endpoints=endpoints) as one:
        yield one


@pytest.fixture
def hand(engine: Engine) -> Hand:
    """A worker played by hand."""
    return Hand(engine)


@pytest.fixture
async def start_worker(make_engine: MakeEngine) -> AsyncIterator[StartWorker]:
    """A factory of running workers; each has an engine of its own, and is stopped at the end."""
    workers: list[tuple[Worker, asyncio.Task[None]]] = []

    async def start(*, executors: Executors | None = None, engine: Engine | None = None, **changes: Any) -> Worker:
        of_worker = engine or await make_engine(**changes)
        loopback = StepSettings(allow_loopback=True, python_processes=2, kill_grace=timedelta(seconds=1))
        worker = Worker(of_worker, executors or build(loopback))
        task = asyncio.create_task(worker.run(), name=worker.id)
        workers.append((worker, task))
        await poll(lambda: worker.ready.is_set() or task.done())
        if task.done():
            task.result()
        return worker

    yield start
    for worker, task in workers:
        worker.stop()
        worker.stop()
        if task.done():
            with suppress(Exception):  # the test has seen it, or was about to fail anyway
                task.result()
            continue
        async with asyncio.timeout(60):
            await task


@pytest.fixture
def lose_streams(engine: Engine, endpoints: Endpoints) -> Callable[[], int]:
    """Lose everything the installation has in Redis, as FLUSHALL would, without touching other tests' keys."""
    return lambda: forget(endpoints.redis_url, f"{engine.names.prefix}:*")


@pytest.fixture
def at_rest(endpoints: Endpoints) -> Callable[..., Awaitable[int]]:
    """Check every invariant as soon as acknowledgements and relays have caught up; gives the number of runs."""

    async def check(**how: Any) -> int:
        last: list[AssertionError] = []
        counted: list[int] = []

        def holds() -> bool:
            try:
                counted.append(check_at_rest(endpoints.database_url, endpoints.redis_url, **how))
            except AssertionError as error:
                last[:] = [error]
            return bool(counted)

        try:
            await poll(holds)
        except AssertionError:
            raise last[-1] from None
        return counted[-1]

    return check


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers beat all the time: what would take a part of a lease takes a moment, and the lease may be long."""
    beat_often(monkeypatch)
