"""Notification steps: real deliveries by apprise from a child process, and ways in which they fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flowforge.model.outcome import Completed, Failed, Outcome
from flowforge.steps import notifying
from flowforge.steps.notification import Notification
from flowforge.steps.notifying import Delivery, Message, UnknownTarget, notify
from flowforge.steps.python_process import ChildProcess
from flowforge.steps.run import attempt
from flowforge.steps.secrets import Secrets
from flowforge.steps.settings import StepSettings
from tests.integration.steps.support import Heard, Server, assignment, eventually, response, runs

pytest.importorskip("apprise")
MESSAGE = {"title": "Order {{ input.order }}", "body": "It is late"}


def hook(server: Server, path: str = "/hook") -> str:
    """Return apprise's name for a web hook at a server."""
    return f"json://127.0.0.1:{server.port}{path}"


@pytest.fixture
async def tell():
    """Run a notification step: `await tell(targets, config)`."""
    made: list[Notification] = []

    async def run(known: dict[str, tuple[str, ...]], heard: Heard | None = None, /, **config: Any) -> Outcome:
        made.append(Notification(StepSettings(targets=known, kill_grace=timedelta(seconds=1))))
        secrets = Secrets({"FLOWFORGE_SECRET_PATH": "canary-path-4711"})
        step = assignment("notification", {**MESSAGE, **config}, input={"order": "A17"}, secrets=secrets)
        return await attempt(made[-1], step, (heard or Heard()).report)

    yield run
    for executor in made:
        await executor.close()


@pytest.fixture
async def good(serve: Callable[..., Any]) -> Server:
    server: Server = await serve(response("{}"))
    return server


@pytest.fixture
async def bad(serve: Callable[..., Any]) -> Server:
    server: Server = await serve(response("no", "500 Internal Server Error"))
    return server


async def test_every_target_gets_the_message(tell, good):
    targets = {"ops": (hook(good, "/{{ secrets.path }}"),), "finance": (hook(good, "/a"), hook(good, "/b"))}
    outcome = await tell(targets, targets=["ops", "finance", "ops"], severity="warning")

    delivered = {"delivered": True, "error": None}
    expected = {"targets": {"ops": delivered, "finance": delivered}, "delivered": 2, "failed": 0}
    assert outcome == Completed(expected)
    assert sorted(request.target for request in good.requests) == ["/a", "/b", "/canary-path-4711"]
    told = json.loads(good.requests[0].body)
    assert (told["title"], told["message"], told["type"]) == ("Order A17", "It is late", "warning")


async def test_nobody_told_is_a_failure_that_can_be_tried_again(tell, bad):
    heard = Heard()
    outcome = await tell({"ops": (hook(bad, "/{{ secrets.path }}"),)}, heard, targets="ops")

    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.retryable) == ("NOTIFICATION_FAILED", True)
    assert "ops: " in outcome.error.message
    assert "500" in outcome.error.message
    assert "canary-path-4711" not in repr(outcome) + heard.text


async def test_some_told_is_not_tried_again_by_itself(tell, good, bad):
    """The others would be told twice; `require: any` is content with one."""
    targets = {"ops": (hook(good),), "finance": (hook(bad),)}
    outcome = await tell(targets, targets=["ops", "finance"])

    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.retryable) == ("NOTIFICATION_PARTIAL", False)
    assert outcome.error.details["targets"]["ops"] == {"delivered": True, "error": None}  # type: ignore[index, call-overload]
    outcome = await tell(targets, targets=["ops", "finance"], require="any")
    assert isinstance(outcome, Completed)
    assert outcome.output["failed"] == 1  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("targets", "config", "code", "words"),
    [
        ({"ops": ("json://h",)}, {"targets": "opps"}, "TARGET_UNKNOWN", "did you mean 'ops'?"),
        ({}, {"targets": []}, "BAD_CONFIG", "'targets'"),
        ({"ops": ("json://h",)}, {"targets": "ops", "title": "", "body": ""}, "BAD_CONFIG", "'body'"),
        ({"ops": ("json://h",)}, {"targets": "ops", "format": "rtf"}, "BAD_CONFIG", "'format'"),
        ({"ops": ("nonsense",)}, {"targets": "ops"}, "NOTIFICATION_FAILED", "ops: "),
        ({"ops": ("{{ secrets.none }}",)}, {"targets": "ops"}, "NOTIFICATION_FAILED", "no secret 'none'"),
    ],
)
async def test_what_cannot_work_is_not_tried_again(tell, targets, config, code, words):
    outcome = await tell(targets, **config)

    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.retryable) == (code, False)
    assert words in outcome.error.message


async def test_without_apprise_the_step_says_what_to_install(tell, monkeypatch):
    monkeypatch.setattr(notifying, "find_spec", lambda name: None)
    outcome = await tell({"ops": ("json://h",)}, targets="ops")

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "NOTIFICATION_UNAVAILABLE"
    assert 'pip install "flowforge[notify]"' in str(outcome.error.hint)


async def test_a_delivery_that_hangs_is_killed(serve, tell, monkeypatch):
    """A cancelled attempt returns when its child process is gone."""
    called = asyncio.Event()
    pids: list[int] = []
    spawn = ChildProcess.spawn

    async def noted(settings: StepSettings) -> ChildProcess:
        child = await spawn(settings)
        pids.append(child.pid)
        return child

    async def never(_: Any, writer: asyncio.StreamWriter) -> None:
        called.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(ChildProcess, "spawn", noted)
    server = await serve(never)
    address = f"{hook(server)}?rto=600"
    task = asyncio.create_task(tell({"ops": (address,)}, targets="ops"))
    await called.wait()
    assert runs(pids[0])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: not runs(pids[0]))


async def test_the_engine_can_tell_people_itself(good, bad, monkeypatch):
    """Incidents and approvals use the same targets."""
    monkeypatch.setenv("FLOWFORGE_SECRET_PATH", "canary-path-4711")
    settings = StepSettings(targets={"ops": (hook(good),), "finance": (hook(bad, "/{{ secrets.path }}"),)})
    told = await notify(settings, ["ops", "finance"], "Incident", "A step is poison")

    assert told[0] == Delivery("ops")
    assert not told[1].delivered
    assert "canary-path-4711" not in repr(told)
    with pytest.raises(UnknownTarget):
        await notify(settings, ["nobody"], "t", "b")


async def test_a_target_is_told_within_a_time_or_reported(serve):
    async def never(_: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server = await serve(never)
    settings = StepSettings(targets={"ops": (f"{hook(server)}?rto=600",)}, kill_grace=timedelta(0))
    (told,) = await notify(settings, ["ops"], "t", "b", timeout=0.1)

    assert told == Delivery("ops", "not delivered within 0.1 s")
    assert Message("t", "b").severity == "info"
