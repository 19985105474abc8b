"""The python step with functions that crash, hang, flood and hide (reliability.md, scenarios 23, 26, 27)."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta

import pytest

from flowforge.model.outcome import Completed, Failed
from flowforge.steps import python_tree
from flowforge.steps.run import attempt
from tests.integration.steps.support import Heard, assignment, eventually, runs
from tests.unit.steps.support import details_of, output_of

FINE = "\ndef fine():\n    return 'fine'\n"


def marked() -> set[int]:
    """Return the processes that this test process's children have left."""
    ours = f"/{os.getpid()}/".encode()
    found = set()
    for entry in python_tree._entries():
        mark = python_tree._mark_of(entry.process.pid)
        if mark is not None and ours in mark.encode():
            found.add(entry.process.pid)
    return found


@pytest.fixture
def call(python):
    executor = python(python_processes=2)

    async def run(function, args=None, *, heard=None, **options):
        config = {"function": f"work:{function}", "args": {} if args is None else args}
        return await attempt(executor, assignment("python", config, **options), (heard or Heard()).report)

    return run


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("os._exit(139)", "exit_139", "exit status 139"),
        ("os._exit(0)", "exit_0", "exit status 0"),
        ("ctypes.string_at(0)", "SIGSEGV", "died of SIGSEGV"),
        ("os.abort()", "SIGABRT", "died of SIGABRT"),
        ("os.kill(os.getpid(), 9)", "SIGKILL", "died of SIGKILL"),
        ("os.closerange(3, 200); time.sleep(60)", "crash", "closed its connection"),
        ("os.closerange(0, 200); os._exit(7)", "exit_7", "exit status 7"),
        ("[os.write(fd, b'garbage' * 100) for fd in sockets()]; time.sleep(60)", "crash", "sent garbage"),
        (
            "[os.write(fd, b'FFP1R' + bytes(3) + b'\\1' + b'\\xff' * 4) for fd in sockets()]; time.sleep(60)",
            "crash",
            "garbage",
        ),
    ],
)
async def test_a_child_that_dies_is_a_crash(functions, call, body, kind, text):
    """The worker survives, says what happened, and the next call gets a new child."""
    functions(f"""
import ctypes, os, stat, time

HUGE = b"FFP1R" + bytes(3) + b"\\1" + b"\\xff" * 4

def sockets():
    for fd in range(3, 50):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                yield fd
        except OSError:
            pass

def poison():
    print("last words")
    {body}
{FINE}""")
    outcome = await call("poison")

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "CRASHED"
    assert "crash" in outcome.error.kinds
    assert kind in outcome.error.kinds
    assert text in outcome.error.message
    assert outcome.error.retryable
    assert "last words" in details_of(outcome)["output"]
    assert await call("fine") == Completed("fine")


@pytest.mark.parametrize(
    "body", ["raise SystemExit(3)", "raise KeyboardInterrupt", "raise BaseException('odd')", "exit()"]
)
async def test_leaving_the_interpreter_is_an_error_like_any_other(functions, call, body):
    """The process stays and serves the next call."""
    functions(f"import os\ndef leave():\n    {body}\ndef pid():\n    return os.getpid()\n")
    before, outcome, after = await call("pid"), await call("leave"), await call("pid")

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "PYTHON_ERROR"
    assert before == after


async def test_a_function_that_forks_answers_once(functions, call):
    """The copy that comes back from the function as well has no call to answer."""
    functions("import os\ndef fork():\n    return os.fork() == 0\n" + FINE)

    assert await call("fork") == Completed(False)
    assert await call("fine") == Completed("fine")


async def test_memory_is_limited_where_the_installation_says_so(functions, python):
    """The function gets a MemoryError; its process is not used again."""
    functions("import os\ndef pid():\n    return os.getpid()\ndef grow():\n    return len(bytearray(2_000_000_000))\n")
    executor = python(python_memory_bytes=1_000_000_000)
    outcomes = []
    for name in ("pid", "grow", "pid"):
        step = assignment("python", {"function": f"work:{name}"})
        outcomes.append(await attempt(executor, step, Heard().report))

    assert isinstance(outcomes[1], Failed)
    assert "MemoryError" in outcomes[1].error.kinds
    assert outcomes[0] != outcomes[2]


@pytest.mark.parametrize("kind", ["", "async "])
async def test_a_function_that_is_stopped_in_time_can_clean_up(functions, call, tmp_path, kind):
    """An async function is cancelled; a plain one sees it in its context. Other programs get the signal, too."""
    functions(f"""
import asyncio, pathlib, time

{kind}def work(context, path):
    try:
        print("started")
        while True:
            {"await asyncio.sleep(10)" if kind else "context.heartbeat(); time.sleep(0.01)"}
    finally:
        pathlib.Path(path).write_text("cleaned")
        print("cleaned")
""")
    heard = Heard()
    task = asyncio.create_task(call("work", {"path": str(tmp_path / "done")}, heard=heard))
    await heard.until(lambda heard: "started" in heard.text)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (tmp_path / "done").read_text() == "cleaned"
    assert "cleaned" in heard.text
    assert marked() == set()


HIDING = """
import os, signal, subprocess, sys, time

DAEMON = '''
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(600)
'''

def hide(path, env):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    environment = dict(os.environ) if env else {}
    subprocess.Popen([sys.executable, "-c", DAEMON, path], env=environment)
    subprocess.Popen(["sleep", "600"], env=environment)
    while not os.path.exists(path) or not open(path).read():
        time.sleep(0.01)
    print("hidden")
    while True:
        pass
"""


@pytest.mark.parametrize("env", [True, False])
async def test_nothing_survives_a_cancellation(functions, python, tmp_path, env):
    """Scenario 27: SIGTERM ignored, a daemon in its own session, even one without the mark in its environment."""
    functions(HIDING)
    executor, heard = python(kill_grace=timedelta(seconds=0.2)), Heard()
    step = assignment("python", {"function": "work:hide", "args": {"path": str(tmp_path / "pid"), "env": env}})
    task = asyncio.create_task(attempt(executor, step, heard.report))
    await heard.until(lambda heard: "hidden" in heard.text)
    daemon = int((tmp_path / "pid").read_text())
    assert runs(daemon)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not runs(daemon)
    assert marked() == set()


async def test_a_timeout_kills_a_loop_in_c(functions, call):
    """Where no signal handler of Python ever runs."""
    functions("import re\ndef spin():\n    re.match(r'(a+)+$', 'a' * 64 + 'b')\n" + FINE)
    outcome = await call("spin", timeout="300ms")

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TIMEOUT"
    assert marked() == set()
    assert await call("fine") == Completed("fine")


async def test_a_second_cancellation_does_not_wait_for_the_grace(functions, python):
    """A worker that must go now takes its children with it."""
    functions("""
import signal, time

def stay():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("in")
    time.sleep(600)
""")
    heard = Heard()
    step = assignment("python", {"function": "work:stay"}, timeout="1h")
    task = asyncio.create_task(attempt(python(kill_grace=timedelta(seconds=600)), step, heard.report))
    await heard.until(lambda heard: "in" in heard.text)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await task

    assert marked() == set()


async def test_what_a_function_leaves_running_ends_with_its_attempt(functions, call):
    """The next attempt meets none of it: it gets a new process."""
    functions("""
import os, subprocess

def leave():
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    return [os.getpid(), child.pid]
""")
    first = await call("leave")
    second = await call("leave")

    assert isinstance(first, Completed)
    assert isinstance(second, Completed)
    assert output_of(first)[0] != output_of(second)[0]
    await eventually(lambda: not (runs(output_of(first)[1]) or runs(output_of(second)[1])))


async def test_a_thread_that_speaks_after_its_call_is_not_heard(functions, call):
    """Its progress belongs to a call that is over."""
    functions("""
import threading, time
stop = threading.Event()

def start(context):
    def talk():
        while not stop.is_set():
            context.progress("old")
            time.sleep(0.001)
    threading.Thread(target=talk, daemon=True).start()

def listen(context):
    time.sleep(0.05)
    context.progress("new")
    stop.set()
""")
    await call("start")
    heard = Heard()
    await call("listen", heard=heard)

    assert heard.progress == ["new"]


async def test_a_fork_bomb_ends_with_its_timeout(functions, call):
    """Scenario 26, with a bounded number of processes."""
    functions("""
import os, signal, time

def bomb():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for depth in range(5):
        if os.fork() == 0 and depth % 2:
            os.setsid()
    time.sleep(600)
""")
    outcome = await call("bomb", timeout="1s")

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TIMEOUT"
    assert marked() == set()


async def test_files_are_limited_where_the_installation_says_so(functions, python, tmp_path):
    """Scenario 19: the step fails with the cause, nothing else does."""
    functions("def fill(path):\n    open(path, 'wb').write(bytes(1_000_000))\n")
    step = assignment("python", {"function": "work:fill", "args": [str(tmp_path / "big")]})
    outcome = await attempt(python(python_file_bytes=100_000), step, Heard().report)

    assert isinstance(outcome, Failed)
    assert "OSError" in outcome.error.kinds
    assert (tmp_path / "big").stat().st_size <= 100_000


async def test_a_child_killed_from_outside_while_idle_is_replaced(functions, call):
    """The call does not even notice, though the worker has not noticed yet either."""
    functions("import os\ndef pid():\n    return os.getpid()\n")
    for _ in range(5):
        first = output_of(await call("pid"))
        os.kill(first, signal.SIGKILL)

        assert output_of(await call("pid")) != first


async def test_a_child_that_cannot_even_start_is_a_crash(functions, python):
    """It is not tried again and again."""
    functions(FINE)
    executor = python(python_memory_bytes=1_000_000)
    outcome = await attempt(executor, assignment("python", {"function": "work:fine"}), Heard().report)

    assert isinstance(outcome, Failed)
    assert outcome.error.code in {"CRASHED", "IMPORT_ERROR"}
