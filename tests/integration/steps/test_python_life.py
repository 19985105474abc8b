"""The lives of child processes: warm, replaced, reaped, and never longer than their worker's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from flowforge.model.outcome import Completed, Failed
from flowforge.steps import python_tree
from flowforge.steps.run import attempt
from tests.integration.steps.support import Heard, assignment, eventually, runs
from tests.unit.steps.support import output_of

PID = "import os, time\ndef pid(wait=0.0):\n    time.sleep(wait)\n    return os.getpid()\n"


async def pid(executor, wait=0.0) -> int:
    step = assignment("python", {"function": "work:pid", "args": {"wait": wait}})
    outcome = await attempt(executor, step, Heard().report)
    return int(output_of(outcome))


async def gone(*pids: int) -> None:
    await eventually(lambda: not any(runs(pid) for pid in pids))


async def test_a_child_is_used_again(functions, python):
    """Modules stay imported."""
    functions(PID)
    executor = python()

    assert len({await pid(executor) for _ in range(5)}) == 1


async def test_no_more_children_than_allowed_work_at_once(functions, python):
    """Other calls wait for their turn."""
    functions(PID)
    executor = python(python_processes=2)
    found = await asyncio.gather(*(pid(executor, 0.05) for _ in range(6)))

    assert len(set(found)) == 2


async def test_idle_children_leave_after_a_while(functions, python):
    """A few stay warm for good."""
    functions(PID)
    executor = python(python_processes=3, python_warm=1, python_idle=timedelta(milliseconds=50))
    found = set(await asyncio.gather(*(pid(executor, 0.5) for _ in range(3))))
    assert len(found) == 3
    await eventually(lambda: sum(runs(one) for one in found) == 1)

    assert await pid(executor) in found


async def test_a_child_is_replaced_after_many_calls(functions, python):
    """Whatever leaks in it is bounded."""
    functions(PID)
    executor = python(python_calls=3)
    found = [await pid(executor) for _ in range(7)]

    assert len(set(found)) == 3
    assert found[0] == found[2] != found[3]
    await gone(found[0], found[3])


async def test_a_child_that_has_grown_is_replaced(functions, python):
    """Memory that a library keeps goes back to the system."""
    functions(PID + "kept = []\ndef grow():\n    kept.append(b'x' * 400_000_000)\n    return os.getpid()\n")
    executor = python()
    first = await pid(executor)
    await attempt(executor, assignment("python", {"function": "work:grow"}), Heard().report)

    assert await pid(executor) != first


async def test_changed_source_is_used_at_once(functions, python, tmp_path):
    """Also that of a module which the function's module imports."""
    functions("import helper\ndef value():\n    return helper.VALUE\n")
    (tmp_path / "helper.py").write_text("VALUE = 'old'")
    executor = python()
    step = assignment("python", {"function": "work:value"})
    assert await attempt(executor, step, Heard().report) == Completed("old")
    (tmp_path / "helper.py").write_text("VALUE = 'newer'")

    assert await attempt(executor, step, Heard().report) == Completed("newer")


async def test_a_missing_module_is_found_once_it_is_there(python, tmp_path):
    """A warm child does not remember that it was missing."""
    executor = python()
    step = assignment("python", {"function": "fresh:value"})
    assert isinstance(await attempt(executor, step, Heard().report), Failed)
    (tmp_path / "fresh.py").write_text("def value():\n    return 1\n")

    assert await attempt(executor, step, Heard().report) == Completed(1)


async def test_a_function_that_changes_its_folder_does_not_change_the_next_ones(functions, python):
    """Warm processes are not to be felt."""
    functions("import os\ndef move():\n    os.chdir('/')\ndef where():\n    return os.getcwd()\n")
    executor = python()
    await attempt(executor, assignment("python", {"function": "work:move"}), Heard().report)
    outcome = await attempt(executor, assignment("python", {"function": "work:where"}), Heard().report)

    assert outcome == Completed(str(Path.cwd()))


async def test_closing_ends_all_children(functions, python):
    """Busy or idle."""
    functions(PID + "def stay():\n    print(os.getpid(), flush=True)\n    time.sleep(600)\n")
    executor, heard = python(), Heard()
    idle = await pid(executor)
    busy = asyncio.create_task(attempt(executor, assignment("python", {"function": "work:stay"}), heard.report))
    await heard.until(lambda heard: heard.text != "")
    other = asyncio.create_task(pid(executor, 0.01))
    await asyncio.wait({other})
    await executor.close()

    assert isinstance(await busy, Failed)
    await gone(idle, int(heard.text))


WORKER = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests.integration.steps.support import Heard, assignment
from flowforge.steps.base import Report
from flowforge.steps.python import Python
from flowforge.steps.run import attempt
from flowforge.steps.settings import StepSettings

async def main():
    executor = Python(StepSettings(python_path=({path!r},)))
    report = Report(progress=lambda value: None, log=lambda text: print(text, end="", flush=True))
    await attempt(executor, assignment("python", {{"function": "work:stay", "args": {args!r}}}), report)

asyncio.run(main())
"""

STAY = """
import os, subprocess, sys, time

def stay(detach):
    other = subprocess.Popen(["sleep", "600"], start_new_session=detach)
    print(os.getpid(), other.pid, flush=True)
    while True:
        pass
"""


@pytest.mark.parametrize("detach", [False, True])
async def test_a_child_dies_with_its_worker(functions, tmp_path, detach, python):
    """Scenario 28: kill -9 leaves no child, and the next worker clears away what the child had started."""
    functions(STAY + PID)
    root = str(Path(__file__).parents[3])
    program = WORKER.format(root=root, path=str(tmp_path), args={"detach": detach})
    command = [sys.executable, "-c", program]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - it starts in no time
    assert worker.stdout is not None
    try:
        child, other = (int(word) for word in (await asyncio.to_thread(worker.stdout.readline)).split())
        await eventually(lambda: f"/{worker.pid}/" in (python_tree._mark_of(other) or ""))
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
    await gone(child)
    await pid(python())
    await gone(other)


async def test_children_of_living_workers_are_left_alone(functions, python):
    """The next worker on the machine does not sweep them away."""
    functions(PID)
    executor = python()
    first = await pid(executor)
    await asyncio.to_thread(python_tree.sweep)

    assert await pid(executor) == first


def test_a_child_whose_worker_is_already_dead_ends_at_once():
    """It notices that it was born too late, whatever the signal missed."""
    program = [sys.executable, "-m", "flowforge.steps.python_child", "0", "1", "{}"]
    middle = subprocess.run(program, env={**os.environ}, check=False, timeout=60, stdin=subprocess.DEVNULL)

    assert middle.returncode == 1


async def test_a_child_is_in_a_session_of_its_own_without_input(functions, python):
    """Ctrl-C at the worker's terminal is the worker's to handle; there is nothing to read."""
    functions("""
import os, resource

def look():
    core = resource.getrlimit(resource.RLIMIT_CORE)
    return [os.getsid(0) == os.getpid(), os.readlink("/proc/self/fd/0"), list(core)]
""")
    outcome = await attempt(python(), assignment("python", {"function": "work:look"}), Heard().report)

    assert outcome == Completed([True, "/dev/null", [0, 0]])


async def test_a_child_that_is_asked_to_stop_by_a_stranger_says_so(functions, python):
    """It is a crash like any other, and is tried again."""
    functions(
        "import asyncio, os\nasync def wait():\n    print(os.getpid(), flush=True)\n    await asyncio.sleep(600)\n"
    )
    heard = Heard()
    task = asyncio.create_task(attempt(python(), assignment("python", {"function": "work:wait"}), heard.report))
    await heard.until(lambda heard: heard.text.endswith("\n"))
    os.kill(int(heard.text), signal.SIGTERM)
    outcome = await task

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "CRASHED"
    assert "SIGTERM" in outcome.error.kinds
