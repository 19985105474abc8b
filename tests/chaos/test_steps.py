"""Steps that harm: the disk, the memory, the process table, their result, their worker. 19, 22, 23, 26 and 27."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.acceptance.kit.person import steps
from tests.acceptance.kit.processes import gone, lives
from tests.acceptance.kit.sink import Effects, Sink, drip
from tests.acceptance.kit.workers import WorkerProcess
from tests.chaos.kit import hostile
from tests.chaos.kit.world import World
from tests.support.eventually import eventually_sync

#: Bytes that a worker may take while servers try to fill its memory.
MEMORY = 400 * 1024 * 1024

ONE = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: one, type: python, timeout: 30s, retry: {max_attempts: 1}, config: {function: "FUNCTION", args: ARGS}}
"""


def failed(world: World, function: str, args: str = "{}") -> dict[str, Any]:
    """Run a step that has to fail; return its error."""
    text = ONE.replace("FUNCTION", function).replace("ARGS", args)
    document = world.run(world.flow(text, name=f"one-{function.replace(':', '-').replace('_', '-')}"), code=5)
    error: dict[str, Any] = document["error"]
    return error


def still_works(world: World) -> None:
    """Check that the world is as it was: work completes, nothing is held, no invariant is violated."""
    world.runs = []
    world.load(28)
    world.verify(repeated=0)


def test_19_a_full_disk_of_a_function_fails_that_step_alone(world: World):
    """The reason is named, the worker goes on."""
    worker = world.worker(lease="20s")
    error = failed(world, "evil:full_disk")
    assert error["code"] == "PYTHON_ERROR"
    assert "No space left on device" in error["message"]
    still_works(world)
    worker.stop()


def peak_memory(pid: int) -> int:
    """Return the most memory that a process had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024


HOSTILE = {"drip": "TIMEOUT", "bomb": "TOO_LARGE", "endless": "TOO_LARGE", "circles": "REDIRECTS", "headers": ""}


def test_22_servers_that_never_end_are_given_up(world: World, sink: Sink):
    """A byte now and then, a gzip bomb, redirects in a circle, gigabytes of body or of headers: an error with a name,
    in bounded time and memory, and the attempt counts."""
    worker = world.worker(lease="20s")
    # A part of the outside that is not audited: one claim calls it more than once when it is redirected.
    elsewhere = Effects(sink)
    elsewhere.answer("drip", drip)
    elsewhere.answer("bomb", hostile.gzip_bomb)
    elsewhere.answer("endless", hostile.endless)
    elsewhere.answer("headers", hostile.endless_headers)
    elsewhere.answer("circles", hostile.Circles(f"{elsewhere.url}/circles"))
    flow = f"""
    queue: @queue
    steps: [{{id: one, type: http, timeout: 4s, retry: {{max_attempts: 1}}, config: {{url: "{elsewhere.url}/NAME"}}}}]
    """
    runs = {name: world.start(world.flow(flow.replace("NAME", name), name=f"hostile-{name}")) for name in HOSTILE}
    world.ended(list(runs.values()))
    codes = {}
    for name, run in runs.items():
        one = steps(world.show(run))["one"]
        assert (one["status"], one["attempts"]) == ("failed", 1), name
        codes[name] = one["error"]["code"]
    assert all(word in codes[name] for name, word in HOSTILE.items()), codes
    assert peak_memory(worker.pid) < MEMORY
    print(f"{codes}, at most {peak_memory(worker.pid) >> 20} MiB")
    still_works(world)


RESULTS = {
    "fifty_megabytes": "",
    "ten_thousand_deep": "",
    "nul_in_a_key": "INVALID_OUTPUT",
    "surrogates": "INVALID_OUTPUT",
    "infinite": "INVALID_OUTPUT",
}
BODIES = ['"a\\u0000b"', '["\\ud800"]', "[1e400]", "NaN", "[" * 10_000 + "]" * 10_000, '{"a": 1, "a": 2']


def test_23_results_that_cannot_be_stored_fail_their_step(world: World):
    """Too large, too deep, NUL, halves of characters, NaN, infinity; from functions and from servers: never a run
    that is stuck, never a traceback in the worker."""
    worker = world.worker(lease="20s")
    codes = {name: failed(world, f"evil:{name}")["code"] for name in RESULTS}
    assert all(word in codes[name] for name, word in RESULTS.items()), codes
    flow = """
    queue: @queue
    steps: [{id: one, type: http, retry: {max_attempts: 1}, config: {url: "@sink/body/NO"}}]
    """
    runs: list[UUID] = []
    for number, body in enumerate(BODIES):
        world.effects.answer(f"body/{number}", _said(body))
        runs.append(world.start(world.flow(flow.replace("NO", str(number)), name=f"body-{number}")))
    assert world.ended(runs) == {"failed": len(BODIES)}
    found = {
        str(code) for (code,) in world.sql.rows("SELECT DISTINCT error->>'code' FROM runs WHERE id = ANY(%s)", runs)
    }
    print(codes, found)
    assert "Traceback" not in worker.said
    still_works(world)


def _said(body: str):
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return answer


DEATHS = {"evil:exit_139": "139", "shop:segfault": "SIGSEGV", "shop:kill": "SIGKILL"}


def test_26_functions_that_die_take_nothing_with_them(world: World):
    """Exit status 139, a real segmentation fault, SIGKILL, memory beyond its limit: the attempt fails with the cause,
    the worker lives, and the place at the gate is free again."""
    worker = world.worker(lease="20s", python_memory_bytes=str(400 * 1024 * 1024))
    for function, word in DEATHS.items():
        error = failed(world, function)
        assert error["code"] == "CRASHED"
        assert word in error["message"]
    error = failed(world, "evil:memory")
    assert "MemoryError" in str(error)
    assert worker.process.poll() is None
    assert world.sql.value("SELECT sum(crashes)::int FROM steps") == 0
    still_works(world)


def test_26_a_function_that_becomes_many_is_killed_with_all_of_them(world: World):
    """A fork bomb with a bound: as root no limit on processes would stop a real one, and others use this machine."""
    worker = world.worker(lease="20s")
    text = ONE.replace("30s", "2s").replace("FUNCTION", "evil:forks").replace("ARGS", '{url: "@sink/forks"}')
    run = world.start(world.flow(text))
    (call,) = world.effects.arrived("forks")
    world.becomes(run, "failed")
    assert world.show(run)["error"]["code"] == "TIMEOUT"
    for pid in call.body["pids"]:
        gone(pid)
    assert worker.process.poll() is None
    still_works(world)


def test_26_a_step_that_takes_down_its_workers_is_parked(world: World):
    """Each new worker dies of it, until it has killed too many: POISON, and nobody is harmed any more."""
    flow = world.flow(ONE.replace("FUNCTION", "evil:kill_worker").replace("ARGS", "{}"))
    run = world.start(flow)
    victims = 0
    while world.sql.status(run) == "running":
        worker = world.worker(ready=False, max_crashes="2", lease="2s")
        eventually_sync(partial(_over, world, worker, run), what="it dies, or the step is parked")
        victims += worker.process.poll() == -signal.SIGKILL
    assert victims == 3
    document = world.show(run)
    assert (document["status"], document["error"]["code"]) == ("failed", "POISON")
    assert steps(document)["one"]["crashes"] == 3
    still_works(world)


def _over(world: World, worker: WorkerProcess, run: UUID) -> bool:
    return worker.process.poll() is not None or world.sql.status(run) != "running"


def test_27_cancelling_ends_everything_that_a_function_has_started(world: World):
    """It ignores SIGTERM and has left two daemons in sessions of their own, one with nothing in its environment."""
    world.worker(lease="20s")
    text = ONE.replace("30s", "5m").replace("FUNCTION", "evil:daemons").replace("ARGS", '{url: "@sink/daemons"}')
    run = world.start(world.flow(text))
    (call,) = world.effects.arrived("daemons")
    family = [call.body["pid"], *call.body["daemons"]]
    assert all(lives(pid) for pid in family)
    world.shell.type("cancel", str(run))
    world.becomes(run, "cancelled")
    for pid in family:
        gone(pid)
    assert not _marked(call.body["pid"])
    still_works(world)


def _marked(child: int) -> list[int]:
    """Return the processes that still carry the mark of a child's worker and number, or are in its session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                session = os.getsid(int(entry.name))
            except ProcessLookupError:
                continue
            if session == child and lives(int(entry.name)):
                found.append(int(entry.name))
    return found
