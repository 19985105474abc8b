"""A process is its id, its start time and its command, never its id alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flowforge.local import process
from flowforge.local.process import Process, alive, facts, send


def look(pid):
    """What is known of a process that surely lives."""
    found = facts(pid)
    assert found is not None
    return found


@pytest.fixture
def sleeper():
    """A process that does nothing for a while."""
    child = subprocess.Popen(["/bin/sleep", "600"])
    yield child
    child.kill()
    child.wait()


def test_a_process_knows_itself():
    """User, program and start time are the system's."""
    own = look(os.getpid())
    assert own.uid == os.geteuid()
    assert own.process.pid == os.getpid()
    assert alive(own.process)


def test_a_reused_id_is_somebody_else(sleeper):
    """Same id, other start time: not the process we knew."""
    known = look(sleeper.pid).process
    assert not alive(replace(known, started="1"))


def test_a_signal_never_reaches_somebody_else(sleeper):
    """Not even SIGKILL to a living process of that id."""
    send(replace(look(sleeper.pid).process, started="1"), signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.05)


def test_a_signal_reaches_whom_it_is_meant_for(sleeper):
    """By process handle where the system has them."""
    send(look(sleeper.pid).process, signal.SIGTERM)
    assert sleeper.wait(60) == -signal.SIGTERM


def test_a_signal_by_id_also_compares_first(sleeper, monkeypatch):
    """Systems without process handles keep the rule."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    known = look(sleeper.pid).process
    send(replace(known, started="1"), signal.SIGKILL)
    assert alive(known)
    send(known, signal.SIGTERM)
    assert sleeper.wait(60) == -signal.SIGTERM


def test_signals_to_nobody_are_no_error():
    """It was about to be stopped anyway."""
    send(Process(2**22 - 1, "1"), signal.SIGTERM)


def test_a_zombie_is_dead():
    """Where nobody buries the dead, their ids stay: a container's first process is often no init."""
    child = subprocess.Popen(["/bin/sleep", "600"])
    known = look(child.pid).process
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert facts(child.pid) is None
    assert not alive(known)
    child.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_name_with_parentheses_and_blanks_is_read_right(tmp_path):
    """The kernel writes the name unquoted between parentheses."""
    program = tmp_path / "a) R 1 (b"
    shutil.copy("/bin/sleep", program)
    child = subprocess.Popen([program, "600"])
    try:
        found = look(child.pid)
        assert found.process.started.isdigit()
        assert int(found.process.started) >= int(look(os.getpid()).process.started)
    finally:
        child.kill()
        child.wait()


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="needs ps")
def test_ps_tells_the_same_where_there_is_no_proc(sleeper, monkeypatch, tmp_path):
    """macOS has no /proc."""
    expected = look(sleeper.pid)
    monkeypatch.setattr(process, "PROC", tmp_path)
    found = look(sleeper.pid)
    assert (found.uid, found.program) == (expected.uid, expected.program)
    assert alive(found.process)
    assert any(other.process == found.process for other in process.everyone())
    assert facts(2**22 - 1) is None
