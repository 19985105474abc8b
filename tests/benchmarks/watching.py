"""What watching costs: `flowforge top` on a list of thousands of runs, while a hundred of them go on.

The answer to keys is measured in the dashboard's own process with Textual's pilot, which presses them as a terminal
does: from the key to the first repaint that shows what it has changed. The pilot's own waiting is left out: it lasts
until the process is idle, which with a hundred runs that go on tells of them and not of the key. What an operator's
terminal costs is measured from outside: the command in a terminal of its own, its processor time and memory as the
kernel counts them.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import math
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from flowforge.client import AsyncClient
from flowforge_cli import accounting
from flowforge_tui import options
from flowforge_tui.app import TopApp
from flowforge_tui.runs.screen import RunsScreen
from tests.benchmarks.figures import percentiles

#: Columns and rows of the terminal.
SIZE = (120, 40)
#: Steps of a second that a run has. Where measuring takes longer, others have waited at a gate to go on for it.
STEPS, WORKFLOW = 600, "watched"
#: Down and up, to both ends, another order, what failed only, and all again.
KEYS = ("j", "j", "j", "k", "G", "k", "g", "s", "f", "f")
#: Seconds that the dashboard is given to read what there is, and between two looks at its memory.
OPENING, PACE = 30.0, 1.0
EVENTS = "SELECT coalesce(sum(r.seq), 0) FROM runs r JOIN workflows w ON w.id = r.workflow_id WHERE w.name = %s"


async def begin(client: AsyncClient, count: int, seconds: float) -> None:
    """Start runs of which so many do something every second, for so long."""
    steps: list[dict[str, Any]] = [
        {"id": f"s{no}", "type": "delay", "config": {"duration": "1s"}} | ({"depends_on": [f"s{no - 1}"]} if no else {})
        for no in range(STEPS)
    ]
    await client.publish({"name": WORKFLOW, "steps": steps, "concurrency": {"limit": count}})
    await client.run_many(WORKFLOW, [{}] * count * math.ceil((seconds + 2 * OPENING) / STEPS))


async def events(client: AsyncClient) -> int:
    """Return how many events these runs have had."""
    async with client.engine.database.connection() as connection:
        row = await (await connection.execute(EVENTS, (WORKFLOW,))).fetchone()
    assert row is not None
    return int(row[0])


class Painted(TopApp):
    """The dashboard, which says when it has painted something that a key has changed."""

    #: Textual looks for the styles beside the file of the class.
    CSS_PATH: ClassVar = [str(Path(options.__file__).parent / str(one)) for one in TopApp.CSS_PATH]

    def __init__(self) -> None:
        super().__init__(AsyncClient(), options.Options(place="benchmark"))
        self._before: object = None
        self._shown: asyncio.Future[float] | None = None

    @property
    def runs(self) -> RunsScreen:
        """The list of runs, which is all that is shown here."""
        assert isinstance(self.screen, RunsScreen)
        return self.screen

    @property
    def looks(self) -> object:
        """What the keys of this benchmark change."""
        book = self.runs.book
        return self.runs.table.cursor, book.by, book.descending, book.query.text

    def expect(self) -> asyncio.Future[float]:
        """Return the moment of the next repaint that shows a change."""
        self._before, self._shown = self.looks, asyncio.get_running_loop().create_future()
        return self._shown

    def post_display_hook(self) -> None:
        """Look whether this repaint shows it."""
        if self._shown is not None and not self._shown.done() and self.looks != self._before:
            self._shown.set_result(time.perf_counter())


async def keys(presses: int, listed: int) -> dict[str, Any]:
    """Press keys one after the other; return how long each took to show."""
    taken: dict[str, list[float]] = defaultdict(list)
    app = Painted()
    async with app.run_test(size=SIZE) as pilot:
        async with asyncio.timeout(OPENING):
            while not (app.live.ready.is_set() and app.runs.book.known >= listed):
                await pilot.pause(0.05)
        for no in range(presses):
            key, shown = KEYS[no % len(KEYS)], app.expect()
            began = time.perf_counter()
            press = asyncio.create_task(pilot.press(key))
            async with asyncio.timeout(OPENING):
                taken[key].append(await shown - began)
            await press
    each = {key: _milliseconds(percentiles(values)) for key, values in taken.items()}
    return {"key_ms": _milliseconds(percentiles([one for some in taken.values() for one in some])), "keys": each}


def _milliseconds(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value * 1000, 2) for name, value in seconds.items()}


def watch(seconds: float) -> dict[str, Any]:
    """Let the command show itself in a terminal; return the share of a core it took, and its memory meanwhile."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm-256color"}
    top = subprocess.Popen(
        [sys.executable, "-m", "flowforge_cli", "top"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        _drained(ours, OPENING / 3)
        before, began, memory = accounting.usage(top.pid), time.monotonic(), list[float]()
        while time.monotonic() - began < seconds:
            _drained(ours, PACE)
            memory += accounting.resident_mb([top.pid])
        after, passed = accounting.usage(top.pid), time.monotonic() - began
    finally:
        top.kill()
        top.wait()
        os.close(ours)
    assert before is not None
    assert after is not None
    return {"cpu_share": round((after.own - before.own) / passed, 4), "memory_mb": [round(one, 1) for one in memory]}


def _drained(terminal: int, seconds: float) -> None:
    """Read what is written to a terminal for so long, as a terminal does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.read(terminal, 1 << 16)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:
            return


async def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Start what is watched, and measure."""
    async with AsyncClient() as client:
        await begin(client, chosen.active, chosen.seconds)
        before, began = await events(client), time.monotonic()
        pressed = await keys(chosen.presses, chosen.listed)
        watched = await asyncio.to_thread(watch, chosen.seconds)
        rate = (await events(client) - before) / (time.monotonic() - began)
    return {
        "listed": chosen.listed,
        "active": chosen.active,
        "events_per_s": round(rate, 1),
        **pressed,
        **watched,
    }


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listed", type=int, default=10_000)
    parser.add_argument("--active", type=int, default=100)
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
