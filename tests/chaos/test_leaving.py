"""Workers that are asked to leave, and workers of two releases at once: scenarios 36 and 37."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest

from tests.acceptance.kit.installation import FLOWFORGE
from tests.acceptance.kit.sink import reply
from tests.chaos.kit import plugins
from tests.chaos.kit.load import LINEAR
from tests.chaos.kit.world import World
from tests.support.eventually import eventually_sync

HELD = LINEAR.replace("@sink/b/{{ run.id }}", "@sink/held")
LEFT = "SELECT count(*) FROM steps s JOIN workers w ON w.id = s.worker WHERE w.pid = %s AND s.status = 'running'"


@pytest.mark.quick
def test_36_a_worker_that_leaves_under_load_hands_back_what_does_not_end_in_time(world: World):
    """SIGTERM with held requests and a load: exit code 0, no attempt is charged, no lease is left behind."""
    hold = world.effects.hold("held", after=(reply(),) * 4)
    world.effects.answer("held", *[hold] * 4, reply())
    leaving = world.worker(lease="60s", grace="1s")
    held = world.start_many(world.flow(HELD), [{}] * 4)
    world.effects.arrived("held", 4)
    world.load(56, longest=0.2)
    world.happened(20)
    leaving.stop()
    assert world.sql.value(LEFT, leaving.pid) == 0
    attempts = "SELECT array_agg(DISTINCT (status::text, attempt)) FROM steps WHERE run_id = ANY(%s) AND step_no = 1"
    assert world.sql.value(attempts, held) == [("queued", "0")]
    world.worker(lease="60s")
    hold.release()
    world.verify(crashes=0)
    assert world.sql.value("SELECT max(attempt) FROM steps WHERE run_id = ANY(%s)", held) == 1


def test_36_a_second_request_to_leave_hurries(world: World):
    """SIGTERM twice, with a grace time of ten minutes: what runs is handed back now."""
    world.effects.hold("held", after=(reply(),))
    leaving = world.worker(lease="60s", grace="10m")
    world.start(world.flow(HELD))
    world.effects.arrived("held")
    leaving.process.terminate()
    eventually_sync(lambda: "stopping" in leaving.said, what="it stops")
    assert leaving.process.poll() is None
    leaving.stop()
    assert world.sql.value(LEFT, leaving.pid) == 0
    world.worker(lease="60s")
    world.verify(crashes=0)


def test_36_a_worker_killed_while_it_leaves_is_one_that_died(world: World):
    """SIGKILL within the grace time: its lease ends, somebody takes over, one crash is counted."""
    world.effects.hold("held", after=(reply(),))
    leaving = world.worker(grace="10m")
    world.start(world.flow(HELD))
    world.effects.arrived("held")
    leaving.process.terminate()
    eventually_sync(lambda: "stopping" in leaving.said, what="it stops")
    leaving.kill()
    world.worker()
    world.verify(crashes=1, repeated=1)


def test_36_a_worker_leaves_although_no_server_answers(world: World):
    """Both servers frozen: it cannot hand anything back, and still ends, with exit code 0 and bounded patience."""
    postgres, valkey = world.proxy("postgres"), world.proxy("valkey")
    world.effects.hold("held", after=(reply(),))
    leaving = world.worker(**world.through(postgres=postgres, valkey=valkey), lease="8s")
    world.start(world.flow(HELD))
    world.effects.arrived("held")
    postgres.freeze()
    valkey.freeze()
    began = time.monotonic()
    leaving.process.terminate()
    assert leaving.process.wait(timeout=100) == 0, leaving.said[-2000:]
    print(f"it left after {time.monotonic() - began:.1f} s")
    world.worker(lease="8s")
    world.verify(crashes=1, repeated=1)


def test_37_workers_of_two_releases_share_a_queue(world: World):
    """The newer one writes messages that the older does not know: handed back, not buried; everything completes,
    whoever reads it first, and nothing is executed twice."""
    newer = plugins.newer_release(world.folder)
    world.worker(lease="6s")
    world.worker(lease="6s", PYTHONPATH=newer)
    world.load(84, longest=0.2)
    world.verify(crashes=0, repeated=0)
    client: Any = world.valkey
    assert not client.exists(f"{world.stream()}:dead")
    print(f"{len(world.lines('written by a newer release'))} lines about messages of the newer release")


def test_37_a_migration_behind_a_long_report_stops_nobody_else(world: World):
    """It asks for its lock again and again instead of queueing: readers come through while the report runs, and when
    that ends the migration is done."""
    command = [*FLOWFORGE, "db", "downgrade", "base", "--yes"]
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    with world.sql.session() as report, began(world, *command) as migration:
        report.execute("SELECT count(*) FROM runs")
        eventually_sync(lambda: world.sql.value(waiting), what="the migration wants its lock")
        for _ in range(20):
            world.sql.value("SELECT count(*) FROM runs")
        assert migration.poll() is None
        eventually_sync(lambda: not world.sql.value(waiting), what="it lets go")
        eventually_sync(lambda: world.sql.value(waiting), what="it tries again")
        report.rollback()
        assert migration.wait(timeout=60) == 0
    world.shell.type("db", "upgrade")
    world.worker(lease="20s")
    world.load(14)
    world.verify(crashes=0, repeated=0)


def began(world: World, *command: str) -> subprocess.Popen[bytes]:
    """Start a command, and leave it running."""
    return subprocess.Popen(command, env=world.shell.environment(), cwd=world.folder, stderr=subprocess.DEVNULL)
