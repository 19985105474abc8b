"""Graphs of thousands of steps: scenarios 29 and 30."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.chaos.kit.world import World
from tests.support.definitions import parallel, step, workflow

#: Bytes that a worker may take for any of these.
MEMORY = 1024 * 1024 * 1024
WIDTH, LENGTH = 10_000, 5_000
ONCE = {"max_attempts": 1}


def peak_memory(pid: int) -> int:
    """Return the most memory that a process had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024


def fan(world: World, *, wait_for_all: bool, failing: int | None) -> dict[str, Any]:
    """Make a parallel step of ten thousand children."""
    children = [
        step(f"c{no}", expression="input.missing" if no == failing else "1", retry={"max_attempts": 1})
        for no in range(WIDTH)
    ]
    fanned = parallel("fan", *children, wait_for_all=wait_for_all)
    definition = workflow(fanned, step("join", "fan"), name="fan")
    for one in (*children, definition["steps"][1], fanned):
        one["queue"] = world.queue
    return definition


def test_29_ten_thousand_branches_join_once(world: World):
    """Two workers, no time-out of any lock, one join; looking at runs works meanwhile; memory is bounded."""
    workers = world.some_workers(2, lease="60s")
    (run,) = world.start_many(fan(world, wait_for_all=True, failing=None), [{}])
    began, looks = time.monotonic(), []
    while world.sql.status(run) == "running":
        asked = time.monotonic()
        world.shell.type("ps", "--json")
        looks.append(time.monotonic() - asked)
    took = time.monotonic() - began
    history = world.sql.rows("SELECT type, count(*) FROM events WHERE step = 'join' GROUP BY 1")
    assert dict(history)["step.completed"] == dict(history)["step.started"] == 1
    assert world.sql.value("SELECT count(*) FROM steps WHERE status = 'completed'") == WIDTH + 2
    assert all(peak_memory(one.pid) < MEMORY for one in workers)
    world.verify(deadline=300, crashes=0)
    print(f"{WIDTH} branches took {took:.1f} s; `ps` took {max(looks, default=0):.2f} s at most")


def test_29_one_failed_branch_of_ten_thousand_stops_the_others(world: World):
    """Fail-fast: the run fails once, with that branch's reason; what had not begun never does."""
    workers = world.some_workers(2, lease="60s")
    failing = world.random.randrange(WIDTH)
    (run,) = world.start_many(fan(world, wait_for_all=False, failing=failing), [{}])
    assert world.ended([run], 300) == {"failed": 1}
    counts = dict(world.sql.rows("SELECT status::text, count(*) FROM steps GROUP BY 1"))
    assert counts["failed"] == 2, counts
    assert f"c{failing}" in world.sql.value("SELECT error->>'message' FROM runs")
    assert world.sql.steps(run).get("join") in (None, "pending", "cancelled")
    assert all(one.process.poll() is None for one in workers)
    world.at_rest()
    print(counts)


def chain(world: World, length: int) -> dict[str, Any]:
    """Make a long chain."""
    names = [f"s{no}" for no in range(length)]
    steps = [step(name, *names[no - 1 : no] if no else ()) for no, name in enumerate(names)]
    for one in steps:
        one["queue"] = world.queue
    return workflow(*steps, name=f"chain-{length}")


def test_30_a_chain_of_five_thousand_steps_takes_linear_time(world: World):
    """Ten times the steps take about ten times as long: nothing in a step's way grows with the run."""
    world.some_workers(2, lease="60s")
    took = {}
    for length in (LENGTH // 10, LENGTH):
        (run,) = world.start_many(chain(world, length), [{}])
        assert world.ended([run], 300) == {"completed": 1}
        query = "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM runs WHERE id = %s"
        took[length] = world.sql.value(query, run)
    world.verify(crashes=0)
    print(took)


def test_30_nesting_without_end_is_refused_in_words(world: World):
    """Two hundred levels of parallel steps: one clear error, no recursion error."""
    nested = step("leaf")
    for level in range(200):
        nested = parallel(f"p{level}", nested)
    path = world.folder / "nested.json"
    path.write_text(json.dumps(workflow(nested, name="nested")))
    result = world.shell.type("workflow", "lint", str(path), code=None)
    assert result.code in (2, 20), result
    assert "nested" in result.err + result.out
    assert "Traceback" not in result.err
    assert "recursion" not in result.err.lower()


def test_30_a_workflow_that_starts_itself_ends_in_words(world: World):
    """Runs within runs without end: the deepest one is refused with the reason, and all of them fail, in order."""
    world.worker()
    again = {"id": "again", "type": "workflow", "queue": world.queue, "config": {"name": "deep"}, "retry": ONCE}
    path = world.folder / "deep.json"
    path.write_text(json.dumps({"name": "deep", "steps": [again]}))
    world.publish(path)
    run = world.start(path)
    assert world.ended([run]) == {"failed": 1}
    codes = dict(world.sql.rows("SELECT error->>'code', count(*)::int FROM steps GROUP BY 1"))
    assert codes["CHILD_TOO_DEEP"] == 1
    assert world.sql.value("SELECT count(*)::int FROM runs WHERE status <> 'failed'") == 0
    assert world.sql.counts("runs") == sum(codes.values())
    world.at_rest()
