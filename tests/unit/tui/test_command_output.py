"""What `:` runs lives no longer than its output is looked at: real processes, with children of their own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowforge_tui.modals.output import OutputModal
from tests.acceptance.kit.processes import lives
from tests.support.dashboard import QUICK, opened, screen_text
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import several

#: Starts another process and stays; with `deaf` it does not hear that it shall end.
STAYS = """
import os, signal, subprocess, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("pids", os.getpid(), other.pid, flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    open(sys.argv[1], "w").write("detached")
"""


@asynccontextmanager
async def running(folder: Path, *words: str) -> AsyncIterator[tuple[Any, Any, list[int]]]:
    """Run a command that stays, and wait until its output is on the screen; give the processes that it is."""
    script = folder / "cli.py"
    script.write_text(STAYS)
    options = replace(QUICK, command=(sys.executable, str(script)))
    async with opened(FakeClient(several()), options=options) as (app, pilot):
        app.open_output(str(folder / "said"), *words)
        line = await eventually(lambda: next((line for line in screen_text(app).splitlines() if "pids " in line), None))
        pids = [int(word) for word in line.split("pids")[1].split()[:2]]
        assert all(lives(pid) for pid in pids)
        yield app, pilot, pids


@pytest.mark.parametrize("key", ["escape", "q"])
async def test_leaving_the_output_ends_the_command_and_what_it_started(key: str, tmp_path: Path):
    async with running(tmp_path) as (app, pilot, pids):
        assert "esc stops it" in screen_text(app)
        await pilot.press(key)
        await eventually(lambda: not any(lives(pid) for pid in pids))
    assert (tmp_path / "said").read_text() == "detached"


async def test_a_dashboard_that_has_ended_leaves_no_command_behind(tmp_path: Path):
    async with running(tmp_path) as (app, pilot, pids):
        await pilot.press("ctrl+q")
        await eventually(lambda: not app.is_running)
    assert not any(lives(pid) for pid in pids)
    assert (tmp_path / "said").read_text() == "detached"


async def test_a_command_that_does_not_listen_is_killed(tmp_path: Path):
    async with running(tmp_path, "deaf") as (app, pilot, pids):
        await pilot.press("escape")
        await eventually(lambda: not any(lives(pid) for pid in pids))
        assert not isinstance(app.screen, OutputModal)


async def test_a_command_that_is_left_before_it_has_begun_leaves_nothing(tmp_path: Path):
    script = tmp_path / "cli.py"
    script.write_text("import time; time.sleep(600)")
    options = replace(QUICK, command=(sys.executable, str(script)))
    async with opened(FakeClient(several()), options=options) as (app, pilot):
        await pilot.press("l", "escape", "l", "escape")
        await eventually(lambda: getattr(app.screen, "VIEW", "") == "runs")
    assert not [pid for pid in children() if str(script) in words(pid)]


def children() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def words(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
