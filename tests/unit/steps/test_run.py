"""Running an attempt: timeouts, faults and secrets become what the engine can settle."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from flowforge.errors import ExpressionError
from flowforge.model.outcome import Completed, Failed
from flowforge.steps.base import Report
from flowforge.steps.failures import ConfigError
from flowforge.steps.run import attempt, attempt_inline
from flowforge.steps.secret_providers import Environment, Providers
from flowforge.steps.secrets import Secrets
from flowforge.steps.transform import Transform
from tests.unit.steps.support import details_of


class Waiter:
    """An executor whose work is a function of the test."""

    def __init__(self, work):
        self.work = work

    async def run(self, assignment, report):
        return await self.work(assignment, report)

    async def close(self):
        pass


class Inline:
    """The same for one that needs no waiting."""

    def __init__(self, work):
        self.work = work

    def execute(self, assignment):
        return self.work(assignment)


SILENT = Report(progress=lambda value: None, log=lambda text: None)


@pytest.fixture
def assignment(assign):
    return assign("transform", {"expression": "1"})


async def test_an_attempt_that_takes_too_long_is_stopped(assignment):
    """The executor is cancelled, may clean up, and the failure says how long it had."""
    cleaned = []

    async def work(assignment, report):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    outcome = await attempt(Waiter(work), assignment, SILENT, timedelta(milliseconds=20))

    assert cleaned == [True]
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TIMEOUT"
    assert outcome.error.kinds == ("timeout",)
    assert outcome.error.message == "timed out after 0.02 s"
    assert outcome.error.retryable


async def test_a_timeout_of_the_executors_own_is_not_the_attempts(assignment):
    """It is a fault like any other, with its own text."""

    async def work(assignment, report):
        raise TimeoutError("of something inside")

    outcome = await attempt(Waiter(work), assignment, SILENT)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "INTERNAL"
    assert "of something inside" in outcome.error.message


async def test_a_cancellation_is_for_the_caller_to_explain(assignment):
    """It passes through after the executor has cleaned up."""
    started, cleaned = asyncio.Event(), []

    async def work(assignment, report):
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    task = asyncio.create_task(attempt(Waiter(work), assignment, SILENT))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]


async def test_a_result_that_is_ready_at_the_deadline_counts(assignment):
    """Work that was done is not thrown away because it had to be asked to stop."""

    async def work(assignment, report):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Completed("just in time")

    assert await attempt(Waiter(work), assignment, SILENT, timedelta(milliseconds=10)) == Completed("just in time")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ExpressionError("there is no 'x'", source="x + 1"), "EXPRESSION_ERROR", "there is no 'x', in: x + 1"),
        (ConfigError("'url' is missing"), "BAD_CONFIG", "'url' is missing"),
    ],
)
async def test_faults_of_the_definition_are_final(assignment, error, code, text):
    """Both kinds of executors are treated alike."""

    def fail(*_):
        raise error

    async def fail_later(*_):
        raise error

    for outcome in (attempt_inline(Inline(fail), assignment), await attempt(Waiter(fail_later), assignment, SILENT)):
        assert isinstance(outcome, Failed)
        assert outcome.error.code == code
        assert outcome.error.message == text
        assert not outcome.error.retryable


async def test_a_fault_of_the_executor_is_an_outcome_too(assignment, caplog):
    """An attempt that was started always ends in something that can be settled."""

    def fail(*_):
        raise KeyError("oops\0")

    async def fail_later(*_):
        raise KeyError("oops\0")

    for outcome in (attempt_inline(Inline(fail), assignment), await attempt(Waiter(fail_later), assignment, SILENT)):
        assert isinstance(outcome, Failed)
        assert outcome.error.code == "INTERNAL"
        assert "KeyError" in outcome.error.kinds
        assert "fail" in details_of(outcome)["traceback"]
        assert "\0" not in outcome.error.message
    assert "KeyError" in caplog.text


async def test_secrets_that_were_read_do_not_come_back(assign):
    """Neither in the output, nor in progress, nor in the log; others are not touched."""
    secrets = Secrets({"FLOWFORGE_SECRET_KEY": "hunter22", "FLOWFORGE_SECRET_OTHER": "unread-secret"})
    assignment = assign("http", {"url": "http://x", "headers": {"x": "{{ secrets.key }}"}}, secrets=secrets)
    heard: list[object] = []

    async def work(assignment, report):
        assert assignment.step.config.render(assignment.context)["headers"] == {"x": "hunter22"}
        report.progress({"at": "hunter22"})
        report.log("using hunter22\n")
        return Completed({"token": "Bearer hunter22", "other": "unread-secret"})

    outcome = await attempt(Waiter(work), assignment, Report(progress=heard.append, log=heard.append))

    assert outcome == Completed({"token": "Bearer [secret:key]", "other": "unread-secret"})
    assert heard == [{"at": "[secret:key]"}, "using [secret:key]\n"]


async def test_secrets_in_faults_are_redacted(assign, caplog):
    """Also when the executor itself breaks with one in its hands."""
    secrets = Secrets({"FLOWFORGE_SECRET_KEY": "hunter22"})
    assignment = assign("transform", {"expression": "secrets.key"}, secrets=secrets)

    def fail(assignment):
        raise RuntimeError("bad value " + assignment.context["secrets"]["key"])

    outcome = attempt_inline(Inline(fail), assignment)

    assert isinstance(outcome, Failed)
    assert "hunter22" not in repr(outcome) + caplog.text
    assert "[secret:key]" in outcome.error.message


async def test_an_inline_executor_can_be_run_like_any_other(assignment):
    """Callers that do not care have one function for both."""
    assert await attempt(Inline(lambda _: Completed(1)), assignment, SILENT) == Completed(1)


async def test_secrets_are_fetched_before_an_expression_reads_them(assign):
    """Also for a step type that needs no waiting; only those it names."""
    assignment = assign("transform", {"expression": "secrets.key + get(secrets.other, '-')"}, secrets=Secrets({}))
    providers = Providers([("env", Environment({"FLOWFORGE_SECRET_KEY": "hunter22", "FLOWFORGE_SECRET_MORE": "x"}))])
    outcome = await attempt(Transform(), assignment, SILENT, providers=providers)

    assert outcome == Completed({"result": "[secret:key]-"})
    assert providers.given == {"key": "hunter22"}


async def test_a_missing_secret_says_where_it_was_looked_for(assign):
    assignment = assign("transform", {"expression": "secrets.key"}, secrets=Secrets({}))
    outcome = await attempt(Transform(), assignment, SILENT, providers=Providers([("env", Environment({}))]))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "EXPRESSION_ERROR"
    assert outcome.error.hint == "the secret 'key' was looked for in: env (FLOWFORGE_SECRET_KEY)"


async def test_a_provider_that_is_away_is_tried_again(assign):
    class Away(Environment):
        def get(self, name):
            raise ConnectionError("sealed")

    assignment = assign("transform", {"expression": "secrets.key"}, secrets=Secrets({}))
    outcome = await attempt(Transform(), assignment, SILENT, providers=Providers([("vault", Away({}))]))

    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.retryable) == ("SECRET_UNAVAILABLE", True)


async def test_a_secret_that_another_step_reads_is_hidden_too(assign):
    """A server may give it to any step of the workflow; to another workflow's, only what is surely a secret."""
    given = {"FLOWFORGE_SECRET_TOKEN": "tok-55aa66bb77cc", "FLOWFORGE_SECRET_MODE": "careful"}
    providers = Providers([("env", Environment(given))])
    echo = Inline(lambda _: Completed(["mode careful", "Bearer tok-55aa66bb77cc"]))

    async def said(*around: str) -> Any:
        assignment = assign("http", {"url": "http://x"}, secrets=Secrets({}))
        outcome = await attempt(echo, assignment, SILENT, providers=providers, around=frozenset(around))
        assert isinstance(outcome, Completed)
        return outcome.output

    assert await said() == ["mode careful", "Bearer tok-55aa66bb77cc"]
    assert await said("token", "mode") == ["mode [secret:mode]", "Bearer [secret:token]"]
    assert await said() == ["mode careful", "Bearer [secret:token]"]


async def test_a_provider_that_is_away_delays_no_step_that_needs_nothing_of_it(assign):
    """What others read is asked for once."""
    asked = []

    class Away(Environment):
        def get(self, name):
            asked.append(name)
            raise ConnectionError("sealed")

    providers = Providers([("vault", Away({}))])
    for _ in range(2):
        assignment = assign("http", {"url": "http://x"}, secrets=Secrets({}))
        outcome = await attempt(
            Inline(lambda _: Completed(1)), assignment, SILENT, providers=providers, around=frozenset({"key"})
        )
        assert outcome == Completed(1)
    assert asked == ["key"]
