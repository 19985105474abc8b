"""What FlowForge costs while nothing happens: an idle worker, and the start of its commands."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from flowforge_cli import accounting
from tests.benchmarks import children
from tests.benchmarks.figures import median
from tests.benchmarks.results import Failed, Found, Goal, Row
from tests.benchmarks.trials import Bench

PRESENT = "SELECT count(*) FROM workers WHERE status = 'active' AND pid = %s"
#: Seconds that a worker may take to be there.
ARRIVAL = 30


def idle(bench: Bench) -> Found:
    """Measure one worker with all its loops that has nothing to do: its processor time, and what it asks."""
    sizes, place = bench.sizes, bench.place
    place.renew()
    children.succeed([sys.executable, "-m", "flowforge_cli", "db", "upgrade"], place.environment)
    place.log_statements()
    with children.running([sys.executable, "-m", "flowforge_cli", "worker", "start"], place.environment) as (worker, _):
        _await(bench, worker)
        time.sleep(sizes.settle)
        meter = accounting.Meter({"worker": (worker.pid,)} | {name: (pid,) for name, pid in place.processes().items()})
        began, before, asked, counted = time.monotonic(), meter.read(), place.statements(), place.counters()
        time.sleep(sizes.idle)
        seconds, after, told, count = time.monotonic() - began, meter.read(), place.statements(), place.counters()
    shares = {name: (after[name] - before[name]) / seconds for name in after}
    rates = {name: (count[name] - counted[name]) / seconds for name in count}
    rates |= {"statements": (told - asked) / seconds, "transactions": rates["commits"] + rates["rollbacks"]}
    bench.trials.append({"measure": "idle", "side": "flowforge", "shares": shares, "counted_per_s": rates})
    detail = f"Postgres {shares['postgres']:.1%}, stream server {shares['streams']:.1%} of a core"
    return Found(
        [
            Row("idle.cpu", "idle worker, all loops: CPU", shares["worker"], "%", Goal(0.01), detail=detail),
            Row(
                "idle.statements",
                "idle worker: statements to Postgres",
                rates["statements"],
                "/s",
                Goal(10),
                detail=f"BEGIN and COMMIT included, {rates['transactions']:.1f} transactions/s; "
                f"{rates['stream_commands']:.1f} commands/s to the stream server",
            ),
        ]
    )


def _await(bench: Bench, worker: subprocess.Popen[bytes]) -> None:
    """Wait until a worker has registered."""
    deadline = time.monotonic() + ARRIVAL
    while True:
        with bench.place.connect() as connection:
            if connection.execute(PRESENT, (worker.pid,)).fetchone() == (1,):
                return
        if worker.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"the idle worker is not there; it ended with {worker.poll()}")
        time.sleep(0.05)


def commands(bench: Bench) -> Found:
    """Measure the start of the command and of the package, once the byte code is there."""
    script = Path(sys.executable).with_name("flowforge")
    bare = _wall(bench, [sys.executable, "-c", "pass"])
    helped = _wall(bench, [str(script), "--help"])
    imported = _wall(bench, [sys.executable, "-c", "import flowforge"])
    detail = f"of it Python alone {median(bare):.3f} s"
    return Found(
        [
            Row("commands.help", "flowforge --help", median(helped), "s", Goal(0.20), detail=detail),
            Row("commands.import", "import flowforge", median(imported), "s", Goal(0.15), detail=detail),
        ],
        repeated={"flowforge --help": helped, "import flowforge": imported},
    )


def _wall(bench: Bench, command: list[str]) -> list[float]:
    taken = []
    for no in range(bench.sizes.commands + 1):
        began = time.perf_counter()
        children.succeed(command, bench.place.environment)
        if no:
            taken.append(time.perf_counter() - began)
    return taken
