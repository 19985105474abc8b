"""The fault suite: forty scenarios, numbered as in the table of failures, each with a seed.

`make test` runs the short selection (marked `quick`); `make chaos` runs all, `make chaos SCENARIO=7 SEED=3` one.
What is asked for arrives as environment variables: FLOWFORGE_CHAOS=all, SCENARIO, SEED, SEEDS.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from flowforge.store import schema
from tests.acceptance.kit.sink import Effects, Sink, serving
from tests.chaos.kit.machine import Machine
from tests.chaos.kit.world import World
from tests.chaos.scenarios import DIFFERENCES, SCENARIOS

HERE = Path(__file__).parent
#: A hang guard for one scenario; its own waits are shorter.
TIMEOUT = 900


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat a scenario for every seed."""
    if "seed" in metafunc.fixturenames:
        first, count = int(os.environ.get("SEED") or 1), int(os.environ.get("SEEDS") or 1)
        metafunc.parametrize("seed", range(first, first + count), ids="seed={}".format)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what is asked for; the others are not run here, rather than skipped."""
    everything, wanted = os.environ.get("FLOWFORGE_CHAOS") == "all", os.environ.get("SCENARIO") or ""
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        if HERE not in item.path.parents:
            kept.append(item)
            continue
        item.add_marker(pytest.mark.chaos)
        item.add_marker(pytest.mark.timeout(TIMEOUT))
        chosen = everything or item.get_closest_marker("quick") is not None
        (kept if chosen and _is_wanted(item.name, wanted) else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def _is_wanted(name: str, wanted: str) -> bool:
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    numbers = [int(word) for word in words if word.isdecimal()]
    return not words or _number(name) in numbers or any(word in name for word in words if not word.isdecimal())


def _number(name: str) -> int:
    found = re.match(r"test_(\d+)_", name)
    return int(found[1]) if found else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say scenario by scenario how many seeds were run and what came of them."""
    if os.environ.get("FLOWFORGE_CHAOS") != "all":
        return
    outcomes: defaultdict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            name = report.nodeid.rpartition("::")[2].partition("[")[0]
            if _number(name) and (report.when == "call" or outcome == "error"):
                outcomes[name][outcome] += 1
                outcomes[name]["seconds"] += report.duration
    terminalreporter.section("scenarios")
    for name, counts in sorted(outcomes.items()):
        failed = int(counts["failed"] + counts["error"])
        seeds = int(counts["passed"]) + failed
        words = f"{seeds} seed{'s' if seeds > 1 else ''}, {failed} failed, {counts['seconds'] / seeds:5.1f} s each"
        terminalreporter.write_line(f"{name.removeprefix('test_').replace('_', ' '):<96} {words}")
    for number in sorted({_number(name) for name in outcomes} & DIFFERENCES.keys()):
        terminalreporter.write_line(f"{number:02d} {SCENARIOS[number]}: {DIFFERENCES[number]}")


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """Both servers, for all scenarios that leave them fit for the next one."""
    one = Machine()
    yield one
    one.remove()


@pytest.fixture(scope="session")
def sink() -> Iterator[Sink]:
    """The outside world."""
    with serving() as one:
        yield one


Worlds = Callable[[Machine], AbstractContextManager[World]]


def migrated(machine: Machine) -> str:
    """Return the name of a migrated database on a machine, made when it is first wanted."""
    if machine.template is None:
        machine.servers.admin("CREATE DATABASE chaos_template")
        schema.upgrade(machine.servers.named("chaos_template"))
        machine.template = "chaos_template"
    return machine.template


@pytest.fixture
def world_on(sink: Sink, tmp_path: Path, request: pytest.FixtureRequest, seed: int) -> Worlds:
    """A factory of worlds, for scenarios that need a machine of their own."""

    @contextmanager
    def make(machine: Machine) -> Iterator[World]:
        machine.start()
        effects = Effects(sink)
        name = machine.servers.copy(migrated(machine))
        with machine.servers.installation(name):
            one = World(machine, name, effects, tmp_path, f"{request.node.originalname}:{seed}")
            try:
                yield one
            finally:
                machine.start()
                one.close()
        machine.servers.drop(name)

    return make


@pytest.fixture
def world(machine: Machine, world_on: Worlds) -> Iterator[World]:
    """A new world on the machine: nothing of another scenario is in it."""
    with world_on(machine) as one:
        yield one
