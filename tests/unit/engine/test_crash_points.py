"""Crash points: named once, compiled in where they say, and refused when there is no such thing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowforge.engine import crash
from flowforge.errors import UsageError

ENGINE = Path(crash.__file__).parent


def test_every_point_is_in_the_code_and_every_one_in_the_code_has_a_name():
    """A point that nobody passes, or that nobody can ask for, would be a test that cannot fail."""
    found = [
        name
        for path in sorted(ENGINE.rglob("*.py"))
        for name in re.findall(r'crash_point\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    ]
    assert sorted(set(found)) == sorted(crash.POINTS)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, ("", 0)),
        ("", ("", 0)),
        ("relay.after_xadd", ("relay.after_xadd", 1)),
        ("acker.after_ack:3", ("acker.after_ack", 3)),
    ],
)
def test_a_point_may_come_with_a_count(text, wanted):
    assert crash.parse(text) == wanted


@pytest.mark.parametrize(
    "text", ["relay.after_lunch", "relay.after_xadd:0", "relay.after_xadd:x", "relay.after_xadd:-1", ":2"]
)
def test_what_is_no_point_is_refused(text):
    with pytest.raises(UsageError, match="FLOWFORGE_CRASH_AT"):
        crash.parse(text)


def test_the_process_dies_when_it_has_passed_the_point_often_enough():
    """Twice it goes on, the third time it is killed."""
    code = """
from flowforge.engine.crash import crash_point
for number in range(9):
    crash_point("acker.after_ack")
    print(number, flush=True)
"""
    environment = {**os.environ, crash.VARIABLE: "acker.after_ack:3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["0", "1"])


def test_the_command_line_refuses_an_unknown_point():
    """Exit code 2 and one line, no traceback."""
    environment = {**os.environ, crash.VARIABLE: "nowhere", "FLOWFORGE_DATABASE_URL": "postgresql:///x?host=/nowhere"}
    environment["FLOWFORGE_REDIS_URL"] = "unix:///nowhere"
    command = [sys.executable, "-m", "flowforge_cli", "worker", "start"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "names no crash point: 'nowhere'" in done.stderr
    assert "Traceback" not in done.stderr
