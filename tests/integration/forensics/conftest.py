"""One installation on which every scenario was played once, and a bundle of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flowforge import Client
from flowforge import forensics as fx
from flowforge.engine.engine import Endpoints
from flowforge.forensics.source import Source
from flowforge.settings import Settings
from tests.support.servers import Servers, Stock


@dataclass(frozen=True, slots=True)
class Incidents:
    """What was played, by name, and the two places where it can be asked about."""

    played: dict[str, fx.Scenario]
    live: Source
    bundle: Source
    path: Path


@pytest.fixture(scope="session")
def incidents(session_servers: Servers, stock: Stock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Incidents]:
    """Every scenario, played one after the other."""
    with stock.lend() as url:
        where = Endpoints(url, session_servers.redis_url)
        settings = Settings(database_url=url, redis_url=where.redis_url, receipts=False)
        with Client(settings, endpoints=where) as client:
            played = {name: fx.scenario(name, client=client) for name in fx.SCENARIOS}
        with fx.open_source(url) as live:
            path = fx.export_bundle(fx.runs(source=live), tmp_path_factory.mktemp("bundle") / "all.ffz", source=live)
            with fx.open_source(path) as bundle:
                yield Incidents(played, live, bundle, path)
