"""What an attempt's outcome does to its step: retries, delays, and attempts that are not counted."""

from datetime import timedelta

import pytest

from flowforge.model.event import EventType
from flowforge.model.facts import Accepted
from flowforge.model.outcome import Completed, Deferred, Failed, Released, StepError, Waiting
from flowforge.model.retry import Backoff, RetryPolicy
from flowforge.model.turn import Terms
from tests.factories import THRICE, chain, failing, plan, step
from tests.unit.decisions.bench import ERROR, START, Bench

SECOND = timedelta(seconds=1)


def waits(policy: RetryPolicy, jitter: float = 0.0) -> list[float]:
    return [policy.delay(failures, jitter).total_seconds() for failures in range(1, 6)]


# -- the policy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Backoff.FIXED, [2, 2, 2, 2, 2]),
        (Backoff.LINEAR, [2, 4, 6, 8, 10]),
        (Backoff.EXPONENTIAL, [2, 6, 18, 20, 20]),
    ],
)
def test_waits_grow_as_the_backoff_says_up_to_the_limit(backoff, expected):
    policy = RetryPolicy(backoff=backoff, initial_delay=2 * SECOND, factor=3, max_delay=20 * SECOND, jitter=False)
    assert waits(policy) == expected


def test_jitter_takes_away_up_to_half_and_adds_nothing():
    policy = RetryPolicy(backoff=Backoff.FIXED, initial_delay=4 * SECOND)
    assert [waits(policy, jitter)[0] for jitter in (0.0, 0.5, 1.0)] == [4, 3, 2]


def test_a_wait_that_the_other_side_asked_for_is_a_floor_of_an_hour_at_most():
    policy = RetryPolicy(initial_delay=4 * SECOND, jitter=False)
    asked = [timedelta(seconds=1), timedelta(seconds=90), timedelta(days=2)]
    assert [policy.delay(1, 0.0, after).total_seconds() for after in asked] == [4, 90, 3600]


def test_a_failure_that_comes_back_for_ever_does_not_overflow():
    policy = RetryPolicy(factor=100, max_delay=timedelta(days=1), jitter=False)
    assert policy.delay(100_000, 0.0) == timedelta(days=1)


@pytest.mark.parametrize(
    ("retry_on", "error", "expected"),
    [
        (None, ERROR, True),
        (None, StepError("BAD", "", retryable=False), False),
        (("network",), ERROR, True),
        (("Broken",), ERROR, True),
        (("NETWORK",), ERROR, True),
        (("timeout", "http_5xx"), ERROR, False),
        ((), ERROR, False),
    ],
)
def test_an_error_is_tried_again_when_the_policy_names_it_by_code_or_kind(retry_on, error, expected):
    assert RetryPolicy(retry_on=retry_on).allows(error, 1) is expected


def test_the_last_attempt_is_not_followed_by_another():
    policy = RetryPolicy(max_attempts=3)
    assert [policy.allows(ERROR, failures) for failures in (1, 2, 3, 4)] == [True, True, False, False]


# -- retries -----------------------------------------------------------------------------------------------


def test_a_failed_attempt_waits_for_its_retry_and_is_queued_when_it_is_due():
    bench = Bench(plan(step("a", retry=THRICE)))
    bench.fail("a")
    row = bench.step("a")
    assert (row.status, row.due_at, row.failures) == ("waiting", bench.now + SECOND, 1)
    assert row.error == ERROR.document("a", 1)
    assert bench.run.wake_at == row.due_at
    bench.after(seconds=1)
    bench.wake()
    assert (bench.status("a"), bench.step("a").dispatch_no) == ("queued", 2)
    bench.complete("a")
    assert (bench.step("a").attempt, bench.step("a").error, bench.run.status) == (2, None, "completed")


def test_attempts_run_out_and_the_step_fails_with_its_last_error():
    bench = Bench(plan(step("a", retry=THRICE)))
    for wait in (1, 2):
        bench.fail("a")
        assert bench.step("a").due_at == bench.now + timedelta(seconds=wait)
        bench.after(seconds=wait)
        bench.wake()
    bench.fail("a", StepError("LAST", "it broke for good"))
    assert (bench.status("a"), bench.step("a").attempt) == ("failed", 3)
    assert bench.run.error == bench.step("a").error
    assert (bench.error()["code"], bench.error()["step"], bench.error()["attempt"]) == ("LAST", "a", 3)
    assert bench.history("a").count(EventType.STEP_RETRYING) == 2


def test_jitter_and_the_wish_of_the_other_side_reach_the_retry():
    bench = Bench(plan(step("a", retry={"max_attempts": 2, "initial_delay": "4s"})))
    bench.claim("a")
    bench.settle("a", Failed(ERROR), jitter=1.0)
    assert bench.step("a").due_at == bench.now + 2 * SECOND
    bench = Bench(plan(step("a", retry={"max_attempts": 2, "initial_delay": "4s"})))
    bench.claim("a")
    bench.settle("a", Failed(ERROR, retry_after=60 * SECOND), jitter=1.0)
    assert bench.step("a").due_at == bench.now + 60 * SECOND


def test_an_error_that_cannot_pass_ends_the_step_at_its_first_attempt():
    bench = Bench(plan(step("a", retry=THRICE)))
    bench.fail("a", StepError("BAD_CONFIG", "no", retryable=False))
    assert (bench.status("a"), bench.step("a").attempt) == ("failed", 1)


# -- attempts that are not counted -------------------------------------------------------------------------


def test_a_released_attempt_is_dispatched_again_and_not_counted():
    bench = Bench(plan(step("a", retry={"max_attempts": 1})))
    for _ in range(5):
        bench.claim("a")
        bench.settle("a", Released())
        assert (bench.status("a"), bench.step("a").attempt, bench.step("a").failures) == ("queued", 0, 0)
    assert bench.step("a").dispatch_no == 6
    bench.complete("a")
    assert (bench.step("a").attempt, bench.step("a").token) == (1, 6)


def test_a_deferred_attempt_waits_with_its_reason_and_is_not_counted():
    bench = Bench(plan(step("a", retry={"max_attempts": 1})))
    for _ in range(5):
        bench.claim("a")
        bench.settle("a", Deferred(ERROR, 5 * SECOND))
        row = bench.step("a")
        assert (row.status, row.attempt, row.failures, row.due_at) == ("waiting", 0, 0, bench.now + 5 * SECOND)
        assert bench.error("a")["code"] == "BROKEN"
        bench.after(seconds=5)
        bench.wake()
    bench.complete("a")
    assert (bench.step("a").attempt, bench.run.status) == (1, "completed")


# -- delays ------------------------------------------------------------------------------------------------


def test_a_delay_completes_by_itself_at_its_time_and_not_before():
    bench = Bench(chain(2))
    bench.claim("a0")
    bench.settle("a0", Waiting(60 * SECOND))
    assert (bench.status("a0"), bench.step("a0").due_at) == ("waiting", bench.now + 60 * SECOND)
    bench.after(seconds=59.999)
    bench.wake()
    assert bench.statuses("a0", "a1") == ["waiting", "pending"]
    bench.after(seconds=0.001)
    bench.wake()
    assert bench.statuses("a0", "a1") == ["completed", "queued"]
    bench.wake()
    assert bench.history("a0").count(EventType.STEP_COMPLETED) == 1


def test_a_delay_until_an_instant_ends_then():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.settle("a0", Waiting(bench.now + timedelta(days=3)))
    bench.drive()
    assert bench.step("a0").finished_at == START + timedelta(days=3)


def test_a_delay_after_a_failed_attempt_is_not_mistaken_for_a_retry():
    bench = Bench(plan(step("a", retry=THRICE)))
    bench.fail("a")
    bench.after(seconds=1)
    bench.wake()
    bench.claim("a")
    bench.settle("a", Waiting(SECOND))
    bench.after(seconds=1)
    bench.wake()
    assert (bench.status("a"), bench.run.status) == ("completed", "completed")


# -- sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ['"12345678"', '"äöüß"'], ids=["ascii", "two bytes a character"])
def test_outputs_beyond_the_limit_of_a_run_fail_the_step_in_bytes_not_characters(output):
    bench = Bench(chain(2), terms=Terms(max_run_bytes=15))
    for name in ("a0", "a1"):
        bench.claim(name)
        assert bench.settle(name, Completed(None), output=output) == Accepted()
    assert bench.error("a1")["code"] == "RUN_TOO_LARGE"
    assert (bench.run.status, bench.run.output_bytes) == ("failed", 10)


def test_an_output_that_just_fits_is_kept():
    bench = Bench(chain(2), terms=Terms(max_run_bytes=4))
    bench.complete("a0", "a1")
    assert (bench.run.status, bench.run.output_bytes) == ("completed", 4)


def test_an_output_too_large_is_handled_like_any_failure_of_the_step():
    bench = Bench(failing("continue"), terms=Terms(max_run_bytes=1))
    bench.claim("a")
    bench.settle("a", Completed(None), output="[1]")
    assert bench.statuses("a", "b") == ["failed", "queued"]
