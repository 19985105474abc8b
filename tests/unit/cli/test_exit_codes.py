"""What the exit codes say."""

from __future__ import annotations

import pytest

from flowforge import errors
from flowforge_cli import exit_codes
from flowforge_cli.exit_codes import ExitCode


def _all_errors() -> list[type[errors.FlowforgeError]]:
    found, left = [], [errors.FlowforgeError]
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        found.append(kind)
    return [kind for kind in found if kind.__module__ == errors.__name__]


def test_the_numbers_are_the_contract():
    """Scripts rely on them."""
    numbers = {code.name: code.value for code in ExitCode}
    assert numbers == {
        "OK": 0,
        "INTERNAL": 1,
        "USAGE": 2,
        "NOT_FOUND": 3,
        "UNREACHABLE": 4,
        "FAILED": 5,
        "CANCELLED": 6,
        "CONFLICT": 7,
        "TIMEOUT": 8,
        "FINDINGS": 20,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError(), 2),
        (errors.InputError(), 2),
        (errors.DefinitionError(), 2),
        (errors.NotFound(), 3),
        (errors.DatabaseUnavailable(), 4),
        (errors.SchemaMismatch(), 4),
        (errors.StreamUnavailable(), 4),
        (errors.ServerStartError(), 4),
        (errors.Conflict(), 7),
        (errors.GateFull(), 7),
        (KeyboardInterrupt(), 130),
        (errors.FlowforgeError(), 1),
        (ZeroDivisionError(), 1),
    ],
)
def test_every_error_has_its_code(error: BaseException, code: int):
    """A class of error is a code; what nobody expected is an internal error."""
    assert exit_codes.of_error(error) == code


def test_no_error_of_ours_is_an_internal_one_by_accident():
    """A new class of error has to be given a code."""
    forgotten = [
        kind.__name__
        for kind in _all_errors()
        if exit_codes.of_error(kind.__new__(kind)) is ExitCode.INTERNAL and kind is not errors.FlowforgeError
    ]
    assert forgotten == []


def test_a_run_that_ended_has_its_code():
    """Waiting commands return the run's outcome."""
    assert [exit_codes.of_status(word) for word in ("completed", "failed", "cancelled")] == [0, 5, 6]


def test_several_results_give_the_worst():
    """A failure outweighs a cancellation, and both outweigh other trouble."""
    ok, failed, cancelled, conflict = ExitCode.OK, ExitCode.FAILED, ExitCode.CANCELLED, ExitCode.CONFLICT
    assert exit_codes.worst([]) == exit_codes.worst([ok, ok]) == ok
    assert exit_codes.worst([ok, cancelled, failed, conflict]) == failed
    assert exit_codes.worst([cancelled, ok, conflict]) == cancelled
    assert exit_codes.worst([ok, conflict]) == conflict
