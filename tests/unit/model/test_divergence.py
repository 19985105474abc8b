"""Differences between a run and its rehearsal, by class: a cause is named once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flowforge.model.divergence import Divergence, Tally, Verification, differences
from flowforge.model.documents import Rehearsal, Rehearsed

RUN = UUID(int=7)


def rehearsal(*steps: Rehearsed, status: str = "completed", output: Any = None) -> Rehearsal:
    """Return a rehearsal of a run that had completed with null."""
    return Rehearsal(RUN, "test", 2, "completed", status, steps, None, output)


def same(name: str, **changes: Any) -> Rehearsed:
    """Return a step that did its work both times."""
    facts: dict[str, Any] = {
        "before": "completed",
        "after": "completed",
        "source": "recorded",
        "output_before": 1,
        "output_after": 1,
    }
    return Rehearsed(name, **(facts | changes))


def kinds(*steps: Rehearsed, **run: Any) -> list[tuple[str, str | None]]:
    """Return class and step of each difference."""
    return [(one.kind.value, one.step) for one in differences(rehearsal(*steps, **run))]


def test_what_comes_to_the_same_does_not_differ():
    """Neither does a step that was computed, nor one that is new and computed."""
    assert kinds(same("a"), same("new", before=None, source="computed", output_before=None)) == []


def test_each_class_is_told_apart():
    """One step each."""
    assert kinds(same("a", output_after=2)) == [("output", "a")]
    assert kinds(same("a", after=None)) == [("missing", "a")]
    assert kinds(same("a", before=None, source="unknown")) == [("new", "a")]
    assert kinds(same("a", after="failed"), status="failed") == [("outcome", "a")]
    assert kinds(same("a", type="conditional", output_after=2)) == [("branch", "a")]


def test_a_branch_names_the_conditional_and_not_what_follows():
    """Steps that ran instead of others are its consequence."""
    steps = [same("if", type="conditional", output_after=2), same("yes", after="skipped"), same("no", before="skipped")]
    assert kinds(*steps) == [("branch", "if")]
    assert kinds(*steps[1:]) == [("branch", "yes"), ("branch", "no")]


def test_a_run_differs_by_itself_only_where_no_step_does():
    """Its output follows from its steps."""
    assert kinds(same("a"), output=5) == [("output", None)]
    assert kinds(same("a", output_after=2), output=5) == [("output", "a")]
    assert kinds(same("a"), status="failed") == [("outcome", None)]


def test_runs_that_differ_alike_are_counted_together():
    """Each once, ten of them named; items of a foreach are alike."""
    tally = Tally()
    for no in range(12):
        steps = [same("lines[0]", output_after=2), same("lines[1]", output_after=2)]
        tally.add(UUID(int=no), differences(rehearsal(*steps)))
    (found,) = tally.result()
    assert (found.kind, found.step, found.count, len(found.runs)) == (Divergence.OUTPUT, "lines", 12, 10)
    verification = Verification("test", 1, 12, {}, (found,))
    assert verification.refused
    assert not Verification("test", 1, 12, {}, (found,), frozenset({Divergence.OUTPUT})).refused
    assert verification.document()["divergences"][0]["class"] == "output"
