"""Runs any executor: the one place where timeouts, bad expressions and programming errors become outcomes.

Nothing but a cancellation leaves here as an exception: an attempt that was started always has an outcome.
Secrets are taken out of all that it hands back: those that it has read, and those that others read.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from datetime import timedelta

from flowforge.errors import ExpressionError
from flowforge.model.outcome import Failed, Outcome, StepError
from flowforge.steps import secrets
from flowforge.steps.base import Assignment, Executor, InlineExecutor, Report, is_inline
from flowforge.steps.failures import ConfigError, bad_config, expression_failed, rendered, timed_out
from flowforge.steps.limits import presentable
from flowforge.steps.redaction import Lines, guard, redact
from flowforge.steps.secret_providers import Providers, SecretUnavailable
from flowforge.steps.secrets import SecretMissing, Secrets, without_secret

logger = logging.getLogger(__name__)


async def attempt(
    executor: Executor,
    assignment: Assignment,
    report: Report,
    timeout: timedelta | None = None,
    providers: Providers | None = None,
    around: frozenset[str] = frozenset(),
) -> Outcome:
    """Run *executor* and return its outcome; *timeout* defaults to the step's own.

    Secrets come from *providers*, or from the environment alone; *around* are those that any step of the workflow
    reads. A cancellation is passed on once the executor has
    stopped what it started: what it means, a cancelled run or a worker that goes away, is for the caller to say.
    """
    limit = assignment.timeout if timeout is None else timeout
    used = secrets.of(assignment.context)
    lines = Lines(lambda: used.hidden, report.log)
    redacted = Report(progress=lambda value: report.progress(redact(value, used.hidden)), log=lines.add)
    if providers is not None:
        await providers.watch(around)
    try:
        async with asyncio.timeout(limit.total_seconds()):
            outcome = await _run(executor, assignment, redacted, providers, around)
    except TimeoutError:
        outcome = timed_out(limit)
    finally:
        lines.close()
    return _finished(assignment, outcome)


def attempt_inline(executor: InlineExecutor, assignment: Assignment) -> Outcome:
    """Call *executor* and return its outcome."""
    try:
        _check(executor, assignment)
        outcome = executor.execute(assignment)
    except Exception as error:  # noqa: BLE001 - an attempt always has an outcome
        outcome = _failed(assignment, error)
    return _finished(assignment, outcome)


async def _run(
    executor: Executor,
    assignment: Assignment,
    report: Report,
    providers: Providers | None,
    around: frozenset[str],
) -> Outcome:
    # Inside the timeout, so that a TimeoutError of the executor's own is not taken for the attempt's.
    try:
        found = assignment.context.get("secrets")
        if providers is not None and isinstance(found, Secrets):
            await found.load(sorted(secrets.named(assignment.step)), providers, around)
        _check(executor, assignment)
        if is_inline(executor):
            return executor.execute(assignment)
        return await executor.run(assignment, report)
    except Exception as error:  # noqa: BLE001 - an attempt always has an outcome
        return _failed(assignment, error)


def _check(executor: Executor, assignment: Assignment) -> None:
    """Hold a configuration against the schema that its executor's package brings; raises ConfigError."""
    schema = getattr(executor, "config_schema", None)
    if schema is None:
        return
    from flowforge.model import inputs

    config = dict(rendered(assignment))
    config.pop("retry", None)
    violations = inputs.violations(schema, config, "config")
    if violations:
        raise ConfigError("; ".join(violations))


def _failed(assignment: Assignment, error: Exception) -> Failed:
    if isinstance(error, ExpressionError):
        error.hint = error.hint or secrets.of(assignment.context).advice
        return expression_failed(error)
    if isinstance(error, ConfigError):
        return bad_config(error)
    if isinstance(error, SecretMissing | SecretUnavailable):
        return without_secret(error)
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
    hidden = secrets.of(assignment.context).hidden
    # Before texts are cut, which could leave a part of a secret, and after they were made storable, which writes out
    # what was an object.
    outcome = guard(outcome, hidden)
    return guard(presentable(outcome), hidden) if isinstance(outcome, Failed) else outcome
