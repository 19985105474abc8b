"""The python step with functions that behave."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from flowforge.model.outcome import Completed, Failed
from flowforge.steps.run import attempt
from flowforge.steps.secrets import Secrets
from tests.integration.steps.support import Heard, assignment
from tests.unit.steps.support import details_of, output_of


@pytest.fixture
def call(python):
    """Call functions of the module `work` with one executor."""
    executor = python(kill_grace=timedelta(milliseconds=500))

    async def run(function, args=None, *, heard=None, **options):
        config = {"function": f"work:{function}", "args": {} if args is None else args}
        return await attempt(executor, assignment("python", config, **options), (heard or Heard()).report)

    return run


async def test_plain_and_async_functions_are_called_with_typed_arguments(functions, call):
    """And may return whatever has a JSON form."""
    functions("""
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
import asyncio

@dataclass
class Receipt:
    total: Decimal
    due: date
    tags: set[str]

def charge(amount: Decimal, times: int, day: date) -> Receipt:
    return Receipt(amount * times, day, {"paid"})

async def later(value: int):
    await asyncio.sleep(0)
    return {"value": value + 1}
""")
    receipt = await call("charge", {"amount": "1.10", "times": 3, "day": "2026-01-02"})

    assert receipt == Completed({"total": "3.30", "due": "2026-01-02", "tags": ["paid"]})
    assert await call("later", [41]) == Completed({"value": 42})


async def test_a_function_learns_about_its_attempt(functions, call):
    """The key is the same for all attempts of the step."""
    functions("""
from flowforge.steps.context import StepContext

def tell(context: StepContext):
    assert not context.cancelled
    context.heartbeat()
    attempt = [context.attempt, context.token, context.idempotency_key]
    return [context.run_id, context.workflow, context.version, context.step, *attempt]
""")
    outcome = await call("tell", attempt=3)

    assert isinstance(outcome, Completed)
    run = output_of(outcome)[0]
    assert outcome.output == [run, "test", 1, "it", 3, 1, f"{run}:it"]


async def test_progress_arrives_in_order(functions, call):
    """Also from threads of the function; a value that is too large is the function's error."""
    functions("""
import threading

def work(context):
    for n in range(100):
        context.progress({"done": n})
    thread = threading.Thread(target=context.progress, args=("thread",))
    thread.start()
    thread.join()
    try:
        context.progress("x" * 100_000)
    except Exception as error:
        return str(error)
""")
    heard = Heard()
    outcome = await call("work", heard=heard)

    assert heard.progress == [*({"done": n} for n in range(100)), "thread"]
    assert "16,384" in str(output_of(outcome))


async def test_output_is_captured_wherever_it_comes_from(functions, call):
    """print, stderr, logging, the context's logger, file descriptors, other programs: all before the outcome."""
    functions("""
import logging, os, subprocess, sys

def speak(context):
    print("printed")
    print("complained", file=sys.stderr)
    logging.getLogger("shop").warning("logged %s", 1)
    context.logger.info("noted")
    os.write(1, b"written\\n")
    subprocess.run(["echo", "echoed"], check=True)
    os.write(2, "h\u00e4lf a line".encode())

def quiet():
    return sys.stdin.read()
""")
    heard = Heard()
    assert await call("speak", heard=heard) == Completed(None)
    lines = (
        "printed",
        "complained",
        "WARNING shop: logged 1",
        "INFO flowforge.step: noted",
        "written",
        "echoed",
        "hälf a line",
    )
    assert heard.text.split("\n") == list(lines)

    nothing = Heard()
    assert await call("quiet", heard=nothing) == Completed("")
    assert nothing.text == ""


async def test_output_arrives_while_the_function_runs(functions, call):
    """A long step can be watched."""
    functions("""
def wait(context, path):
    import os, time
    print("started")
    while not os.path.exists(path):
        time.sleep(0.01)
""")
    heard = Heard()
    marker = str(Path(__file__).parent / "no-such-file")
    task = asyncio.create_task(call("wait", {"path": marker}, heard=heard, timeout="1m"))
    await heard.until(lambda heard: "started\n" in heard.text)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_output_is_cut_at_the_limit(functions, call):
    """The function itself is not held up; the next attempt begins anew."""
    functions("""
import os

def flood():
    for _ in range(200):
        os.write(1, b"x" * 10_000 + b"\\n")
    return "done"

def bytes_():
    os.write(1, b"\\xff\\x00ok\\n")
""")
    heard = Heard()
    assert await call("flood", heard=heard) == Completed("done")
    assert heard.text.endswith("\n[output truncated after 65,536 bytes]\n")
    assert len(heard.text) < 65_536 + 100

    odd = Heard()
    await call("bytes_", heard=odd)
    assert odd.text == "\ufffd\ufffdok\n"


async def test_an_exception_keeps_its_classes_and_the_users_frames(functions, call):
    """Rules match plain and qualified names of any base class."""
    functions("""
class ShopError(Exception):
    pass

class OutOfStock(ShopError, LookupError):
    pass

def helper():
    raise OutOfStock("no more\\nchairs")

async def sell():
    try:
        {}["x"]
    except KeyError as error:
        helper()
""")
    outcome = await call("sell")

    assert isinstance(outcome, Failed)
    error = outcome.error
    assert error.code == "PYTHON_ERROR"
    assert error.message == "OutOfStock: no more chairs"
    expected = ("OutOfStock", "work.OutOfStock", "ShopError", "work.ShopError", "LookupError", "Exception")
    assert error.kinds == expected
    assert error.retryable
    traceback = details_of(outcome)["traceback"]
    assert "in helper" in traceback
    assert "KeyError" in traceback
    assert "flowforge" not in traceback


async def test_a_function_can_fail_in_its_own_words(functions, call):
    """With a code for rules, and whether and when to try again."""
    functions("""
from datetime import timedelta
from flowforge.steps.context import StepFailure

def decline():
    raise StepFailure("card declined", code="DECLINED", retryable=False, hint="call the bank", details={"n": 1})

def later():
    raise StepFailure("busy", retry_after=timedelta(minutes=2))
""")
    declined, later = await call("decline"), await call("later")

    assert isinstance(declined, Failed)
    assert isinstance(later, Failed)
    assert (declined.error.code, declined.error.message) == ("DECLINED", "card declined")
    assert not declined.error.retryable
    assert declined.error.hint == "call the bank"
    assert details_of(declined)["details"] == {"n": 1}
    assert later.error.retryable
    assert later.retry_after is not None
    assert later.retry_after.total_seconds() == 120


@pytest.mark.parametrize(
    ("function", "code", "text"),
    [
        ("work:missing", "IMPORT_ERROR", "module 'work' has no 'missing'"),
        ("work:number", "BAD_ARGUMENTS", "work:number is int, not something to call"),
        ("nowhere:f", "IMPORT_ERROR", "there is no module 'nowhere'"),
        ("work.sub:f", "IMPORT_ERROR", "there is no module 'work.sub'"),
        ("broken:f", "IMPORT_ERROR", "SyntaxError"),
        ("needy:f", "IMPORT_ERROR", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("leaving:f", "IMPORT_ERROR", "SystemExit: 3"),
    ],
)
async def test_a_function_that_cannot_be_had_is_final(functions, python, tmp_path, function, code, text):
    """The message says what is missing, the hint where it was searched."""
    functions("number = 5")
    (tmp_path / "broken.py").write_text("def f(:")
    (tmp_path / "needy.py").write_text("import no_such_package")
    (tmp_path / "leaving.py").write_text("import sys; sys.exit(3)")
    outcome = await attempt(python(), assignment("python", {"function": function}), Heard().report)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == code
    assert text in outcome.error.message
    assert not outcome.error.retryable
    if "no module" in text:
        assert str(tmp_path) in (outcome.error.hint or "")


@pytest.mark.parametrize("args", [{"amount": "much"}, {"amuont": 1}, {}, [1, 2], {"amount": {"a": 1}}])
async def test_arguments_that_do_not_fit_are_final(functions, call, args):
    """The message names the function and the argument."""
    functions("def pay(amount: int): pass")
    outcome = await call("pay", args)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "BAD_ARGUMENTS"
    assert "work:pay" in outcome.error.message
    assert not outcome.error.retryable


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("'x' * 50_000_000", "TOO_LARGE"),
        ("nested(10_000)", "INVALID_OUTPUT"),
        ("'\\0'", "INVALID_OUTPUT"),
        ("'\\ud800'", "INVALID_OUTPUT"),
        ("float('nan')", "INVALID_OUTPUT"),
        ("{'a': {'b': float('inf')}}", "INVALID_OUTPUT"),
        ("object()", "INVALID_OUTPUT"),
        ("loop()", "INVALID_OUTPUT"),
        ("(n for n in [object()])", "INVALID_OUTPUT"),
        ("lambda: 1", "INVALID_OUTPUT"),
    ],
)
async def test_a_result_that_cannot_be_stored_is_final(functions, call, expression, code):
    """Scenario 23: found in the child, before it is sent."""
    functions(f"""
def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value

def loop():
    value = []
    value.append(value)
    return value

def give():
    return {expression}
""")
    outcome = await call("give")

    assert isinstance(outcome, Failed)
    assert outcome.error.code == code
    assert "work:give" in outcome.error.message
    assert not outcome.error.retryable


async def test_secrets_come_as_arguments_only_and_do_not_come_back(functions, call, monkeypatch):
    """The child's environment has none of them; what is printed or raised is redacted."""
    monkeypatch.setenv("FLOWFORGE_SECRET_KEY", "hunter22")
    functions("""
import os

def use(key):
    print("key is", key)
    if any("hunter22" in value for value in os.environ.values()):
        return "found in the environment"
    raise RuntimeError(f"bad key {key}")
""")
    heard = Heard()
    outcome = await call("use", {"key": "{{ secrets.key }}"}, heard=heard, secrets=Secrets())

    assert isinstance(outcome, Failed)
    assert outcome.error.message == "RuntimeError: bad key [secret:key]"
    assert heard.text == "key is [secret:key]\n"
    assert "hunter22" not in repr(outcome)


async def test_functions_are_found_in_the_path_then_here_then_in_pythonpath(python, tmp_path, monkeypatch):
    """FLOWFORGE_PATH wins over the worker's folder, and that over PYTHONPATH."""
    for folder in ("first", "here", "last"):
        (tmp_path / folder).mkdir()
        for module in ("everywhere", "here_and_last", "last_only"):
            if not (module == "here_and_last" and folder == "first") and not (
                module == "last_only" and folder != "last"
            ):
                (tmp_path / folder / f"{module}.py").write_text(f"def where(): return {folder!r}")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "last"))
    executor = python()
    executor._settings = type(executor._settings)(python_path=(str(tmp_path / "first"),))
    found = []
    for module in ("everywhere", "here_and_last", "last_only"):
        outcome = await attempt(executor, assignment("python", {"function": f"{module}:where"}), Heard().report)
        assert isinstance(outcome, Completed)
        found.append(outcome.output)

    assert found == ["first", "here", "last"]
