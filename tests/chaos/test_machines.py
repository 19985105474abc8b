"""Clocks that are wrong, disks that are full, cables that are pulled, backups that are restored: 17, 18, 20, 40."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from flowforge.engine.names import GROUP
from tests.acceptance.kit.processes import lives
from tests.acceptance.kit.sink import reply
from tests.chaos.conftest import Worlds
from tests.chaos.kit import network, plugins
from tests.chaos.kit.load import LINEAR
from tests.chaos.kit.machine import Machine
from tests.chaos.kit.proxy import Proxy
from tests.chaos.kit.world import World
from tests.support.eventually import eventually_sync

HELD = LINEAR.replace("@sink/b/{{ run.id }}", "@sink/held")
CLOCKS = {"ahead": {"shift": 600.0}, "behind": {"shift": -600.0}, "jumps back": {"jump": -600.0, "after": 4.0}}


@pytest.mark.parametrize("clock", CLOCKS, ids=[name.replace(" ", "-") for name in CLOCKS])
def test_17_a_wrong_clock_on_one_worker_steals_nothing_and_fires_nothing_early(world: World, clock: str):
    """Ten minutes ahead, behind, or suddenly back: only the database's clock decides about leases and timers.

    The clock is moved inside the worker's interpreter: there is no `faketime` to rely on.
    """
    hold = world.effects.hold("held")
    good = world.worker()
    run = world.start(world.flow(HELD))
    world.effects.arrived("held")
    wrong = world.worker(PYTHONPATH=plugins.clock(world.folder, **CLOCKS[clock]))
    world.load(84, longest=0.2)
    world.ended(world.runs[1:])
    # Two leases later the step is still with its worker: nobody took it for lost.
    over = "SELECT clock_timestamp() > started_at + interval '9 seconds' FROM steps WHERE run_id = %s AND step_no = 1"
    eventually_sync(lambda: world.sql.value(over, run), what="two leases pass")
    assert world.holder(run, "b").pid == good.pid
    assert world.sql.value("SELECT count(*) FROM steps s JOIN workers w ON w.id = s.worker AND w.pid = %s", wrong.pid)
    hold.release()
    world.verify(crashes=0, repeated=0)
    # Each keeps its own time in its log, and the history has the database's.
    query = "SELECT bool_and(at BETWEEN now() - interval '5 minutes' AND now() + interval '1 second') FROM events"
    assert world.sql.value(query) is True


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Lend a folder on a disk that is soon full."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-disk-", dir="/tmp"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own has to be mounted, which takes root")
def test_18_a_full_disk_refuses_new_runs_and_loses_no_accepted_one(world_on: Worlds):
    """No byte is left for Postgres and Valkey: starting is refused with exit code 4 and the reason; when there is
    room again everything accepted completes."""
    settings = {"max_wal_size": "64MB", "min_wal_size": "32MB", "shared_buffers": "32MB"}
    with small_disk(256) as folder:
        machine = Machine(folder, postgres=settings)
        try:
            with world_on(machine) as world:
                fill_and_free(world, folder / "ballast")
        finally:
            machine.remove()


def fill(ballast: Path) -> bool:
    """Take all room there is; say whether the servers have left it alone meanwhile."""
    free = shutil.disk_usage(ballast.parent).free
    with ballast.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, free - free % 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
    return True


def fill_and_free(world: World, ballast: Path) -> None:
    """Take all room while work is under way, see that starts are refused, give it back."""
    world.some_workers(2, lease="20s")
    world.load(70, longest=0.3)
    world.happened(world.random.randint(20, 100))
    flow = world.flow(LINEAR, name="more")
    world.shell.type("workflow", "publish", str(flow))
    eventually_sync(partial(fill, ballast), what="the disk is full")
    refused = ""
    text = "x" * 500_000
    for _ in range(200):
        result = world.shell.type("run", "more", "--input", "-", "--json", stdin=f'{{"text": "{text}"}}', code=None)
        if result.code:
            assert result.code == 4, result.err
            refused = result.err
            break
        world.runs.append(UUID(result.document["id"]))
    assert refused, "200 runs found room on a full disk"
    assert "Traceback" not in refused
    assert len(refused.strip().splitlines()) <= 3, refused
    ballast.unlink()
    world.machine.start()
    print(f"refused with: {refused.strip().splitlines()[0]}")
    world.verify(crashes=0, repeated=0)
    assert all(one.process.poll() is None for one in world.workers)


STEPS = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: py, type: python, config: {function: "shop:effect", args: {url: "@there/py"}}}
      - {id: web, type: http, config: {method: POST, url: "@there/web"}}
      - {id: end, type: http, depends_on: [py, web], config: {method: POST, url: "@there/end"}}
"""


@pytest.mark.skipif(not network.possible(), reason="network namespaces take root and the ip command")
def test_20_a_worker_whose_cable_to_postgres_is_pulled(world: World):
    """Redis and the outside stay reachable, Postgres does not: it ends its own work before the other one starts it,
    and what it says after the cable is back in changes nothing."""
    hold = world.effects.hold("py", after=(reply(200, {"from": "second"}),))
    other_hold = world.effects.hold("web", after=(reply(200, {"from": "second"}),))
    there = network.Network()
    try:
        near, far = there.addresses
        postgres, valkey = world.proxy("postgres", host=near), world.proxy("valkey", host=far)
        outside = Proxy(int(world.effects.url.split(":")[2].split("/")[0]), host=far)
        world.proxies.append(outside)
        url = f"http://{far}:{outside.port}/" + world.effects.url.rpartition("/")[2]
        everywhere: dict[str, Any] = {"allow_private_addresses": "true", "lease": "6s"}
        reach: dict[str, Any] = {
            "database_url": world.through(postgres=postgres)["database_url"].replace("127.0.0.1", near),
            "redis_url": world.through(valkey=valkey)["redis_url"].replace("127.0.0.1", far),
        }
        cut = world.worker(inside=there.inside, **everywhere, **reach)
        flow = world.flow(STEPS.replace("@there", url))
        run = world.start(flow)
        (first,) = world.effects.arrived("py")
        world.effects.arrived("web")
        other = world.worker(**everywhere)
        there.pull(0)
        world.effects.arrived("py", 2)
        assert not lives(first.body["pid"]), "two functions were at work at the same time"
        world.becomes(run, "completed")
        assert world.sql.value("SELECT output->'web'->'body' FROM runs") in (None, {"from": "second"})
        there.plug(0)
        hold.release()
        other_hold.release()
        other.stop()
        assert world.ended(world.start_many(flow, [{}] * 20)) == {"completed": 20}
        assert cut.process.poll() is None
        world.verify(crashes=2, repeated=2)
    finally:
        there.remove()


def copied(machine: Machine, folder: Path) -> None:
    """Copy Postgres as it is at rest."""
    subprocess.run(["cp", "-a", machine.data("postgres"), folder], check=True)


def test_40_postgres_is_restored_from_a_backup_while_redis_lives_on(world_on: Worlds):
    """Set back to before half of what has happened: messages about what is unknown now are put away, what was under
    way then is done again, and everything that Postgres knows of completes.

    What happened in between is asked for again, with the same keys: that is the window of duplicates of a restore.
    """
    machine = Machine()
    try:
        with world_on(machine) as world:
            restored(world, machine)
    finally:
        machine.remove()


def restored(world: World, machine: Machine) -> None:
    """Go on after a backup, then go back to it."""
    workers = world.some_workers(2)
    known = world.load(56, longest=0.3)
    world.happened(world.random.randint(20, 90))
    backup = machine.folder / "backup"
    for one in workers:
        one.kill()
    world.sql.close()
    machine.stop_postgres()
    copied(machine, backup)
    machine.start()
    world.sql.reopen()
    # The other past: new runs, most of the old ones done, and messages about both left in Redis.
    unknown = world.load(56, longest=0.3)
    workers = world.some_workers(2)
    calls = len(world.effects.calls())
    world.happened(calls + world.random.randint(40, 120))
    for one in workers:
        one.kill()
    world.sql.close()
    machine.stop_postgres()
    shutil.rmtree(machine.data("postgres"))
    backup.rename(machine.data("postgres"))
    client = world.valkey
    machine.start()
    world.sql.reopen()
    left = client.xlen(world.stream())
    assert world.sql.value("SELECT count(*)::int FROM runs WHERE id = ANY(%s)", unknown) == 0
    world.runs = known
    world.some_workers(2)
    world.verify(lost_time=True)
    letters: Any = client.xrange(f"{world.stream()}:dead")
    dead = [fields[b"reason"] for _, fields in letters]
    assert set(dead) <= {b"no such run or step"}
    pending: Any = client.xpending(world.stream(), GROUP)
    assert not pending["pending"]
    again = [call for call in world.effects.calls() if call.token > 0]
    assert {call.key for call in again} >= {f"{run}:a" for run in known if world.sql.steps(run).get("a")}
    print(f"{left} messages of the other past, {len(dead)} about unknown runs put away")
