"""Runs any executor: the one place where timeouts, bad expressions and programming errors become outcomes.

Nothing but a cancellation leaves here as an exception: an attempt that was started always has an outcome.
Secrets that the attempt has read are taken out of all it hands back.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from datetime import timedelta
from typing import Any

from flowforge.errors import ExpressionError
from flowforge.model.outcome import Failed, Outcome, StepError
from flowforge.steps.base import Assignment, AsyncExecutor, Executor, InlineExecutor, Report, is_inline
from flowforge.steps.failures import ConfigError, bad_config, expression_failed, timed_out
from flowforge.steps.limits import presentable
from flowforge.steps.secrets import Redactor, Secrets, guard

logger = logging.getLogger(__name__)


async def attempt(
    executor: Executor,
    assignment: Assignment,
    report: Report,
    timeout: timedelta | None = None,
) -> Outcome:
    """Run *executor* and return its outcome; *timeout* defaults to the step's own.

    A cancellation is passed on once the executor has stopped what it started: what it means, a cancelled run
    or a worker that goes away, is for the caller to say.
    """
    if is_inline(executor):
        return attempt_inline(executor, assignment)
    limit = assignment.timeout if timeout is None else timeout
    try:
        async with asyncio.timeout(limit.total_seconds()):
            outcome = await _run(executor, assignment, _redacting(assignment, report))
    except TimeoutError:
        outcome = timed_out(limit)
    return _finished(assignment, outcome)


def attempt_inline(executor: InlineExecutor, assignment: Assignment) -> Outcome:
    """Call *executor* and return its outcome."""
    try:
        outcome = executor.execute(assignment)
    except ExpressionError as error:
        outcome = expression_failed(error)
    except ConfigError as error:
        outcome = bad_config(error)
    except Exception as error:  # noqa: BLE001 - an attempt always has an outcome
        outcome = _internal(assignment, error)
    return _finished(assignment, outcome)


async def _run(executor: AsyncExecutor, assignment: Assignment, report: Report) -> Outcome:
    # Inside the timeout, so that a TimeoutError of the executor's own is not taken for the attempt's.
    try:
        return await executor.run(assignment, report)
    except ExpressionError as error:
        return expression_failed(error)
    except ConfigError as error:
        return bad_config(error)
    except Exception as error:  # noqa: BLE001 - an attempt always has an outcome
        return _internal(assignment, error)


def _internal(assignment: Assignment, error: Exception) -> Failed:
    step = assignment.step
    # Without the exception itself: its text may hold a secret. The outcome carries all of it, redacted.
    logger.error("executor of step %s (%s) raised %s", step.id, step.type, type(error).__name__)
    lines = traceback.format_exception(error, limit=-10)
    return Failed(
        StepError(
            code="INTERNAL",
            message=f"the executor of '{step.type}' failed: {type(error).__name__}: {error}",
            kinds=("internal", type(error).__name__),
            hint="this is a fault of FlowForge or of the package that provides the step type",
            details={"traceback": "".join(lines)[-16_000:]},
        )
    )


def _finished(assignment: Assignment, outcome: Outcome) -> Outcome:
    if isinstance(outcome, Failed):
        outcome = presentable(outcome)
    secrets = assignment.context.get("secrets")
    return guard(outcome, secrets.used) if isinstance(secrets, Secrets) and secrets.used else outcome


def _redacting(assignment: Assignment, report: Report) -> Report:
    """Return a report that lets no secret through; which ones were read is only known as the attempt goes on."""
    secrets = assignment.context.get("secrets")
    if not isinstance(secrets, Secrets):
        return report
    made: dict[int, Redactor] = {}

    def redactor() -> Redactor:
        known = len(secrets.used)
        if known not in made:
            made[known] = Redactor(secrets.used)
        return made[known]

    def progress(value: Any) -> None:
        report.progress(redactor().value(value))

    def log(text: str) -> None:
        report.log(redactor().text(text))

    return Report(progress=progress, log=log)
