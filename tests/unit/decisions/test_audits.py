"""The audit of a run, and its mending: what the engine decides is in order; rows are set right by the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowforge.model.audit import RunRecord, audit
from flowforge.model.health import findings
from flowforge.model.mending import mend
from tests import factories
from tests.unit.decisions.bench import RUN, START, Bench
from tests.unit.decisions.worlds import World, definitions


def record(bench: Bench) -> RunRecord:
    """Return a run as it would be stored."""
    run = bench.run
    row = {**run._asdict(), "status": run.status.value}
    steps = [{**state._asdict(), "step_no": no, "status": state.status.value} for no, state in run.steps.items()]
    packed, seq = [], 1
    for at, events in groupby(bench.events, lambda event: event.at):
        items = [{"type": e.type.value, "step": e.step, "attempt": e.attempt, "data": e.data} for e in events]
        packed.append({"seq": seq, "at": at, "events": items})
        seq += len(items)
    return RunRecord(row, run.plan, steps, packed)


def changed(stored: RunRecord, run: Mapping[str, Any], step: Mapping[str, Any]) -> RunRecord:
    """Return a run of which somebody has changed the rows: its own, and that of its first step."""
    first, *others = stored.steps
    return replace(stored, row={**stored.row, **run}, steps=[{**first, **step}, *others])


def mended(stored: RunRecord) -> RunRecord:
    """Return a run as it is after its repair."""
    done = mend(stored, START + timedelta(days=1))
    steps = [{**row, **done.steps.get(row["step_no"], {})} for row in stored.steps]
    return replace(stored, row={**stored.row, **done.run}, steps=steps)


def kinds(stored: RunRecord) -> set[str]:
    """Return the kinds of what is wrong with a run."""
    return {one.kind for one in findings(audit(stored))}


@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_whatever_happens_to_a_run_nothing_is_found_and_nothing_is_mended(data):
    """At any moment of its life, its end and its retry included."""
    world = World(factories.plan(**data.draw(definitions())), data.draw)
    for _ in range(data.draw(st.integers(0, 15))):
        world.move()
        stored = record(world.bench)
        assert list(audit(stored)) == []
        assert not mend(stored, world.bench.now)
    world.bench.drive()
    assert kinds(record(world.bench)) == set()


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "history.count": ({"seq": 99}, {}),
    "run.count": ({"open_steps": 2}, {}),
    "rows.differ": ({"status": "failed"}, {"attempt": 7}),
    "end.open": ({}, {"status": "running", "worker": "w9", "due_at": START}),
    "token.differs": ({}, {"token": 0}),
    "key.differs": ({}, {"label": "undone:4"}),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_rows_that_were_changed_are_found_and_set_right(kind: str):
    """To what they were, exactly."""
    bench = Bench(factories.chain(3))
    bench.drive()
    stored = record(bench)
    broken = changed(stored, *CHANGES[kind])
    assert kind in kinds(broken)
    assert mended(broken) == stored


def test_a_run_that_nothing_would_wake_gets_an_alarm():
    """No later than the first thing to look at."""
    bench = Bench(factories.chain(2))
    broken = changed(record(bench), {"wake_at": None}, {})
    assert kinds(broken) == {"run.asleep"}
    assert mended(broken) == record(bench)


def test_a_history_with_a_gap_mends_nothing():
    """It is the truth only where it is whole."""
    bench = Bench(factories.chain(3))
    bench.after(seconds=1)
    bench.drive()
    stored = record(bench)
    broken = changed(replace(stored, packed=stored.packed[1:]), {"status": "failed"}, {})
    assert {"history.gap", "rows.differ"} <= kinds(broken)
    assert not mend(broken, START)


@pytest.mark.parametrize(
    "events",
    [[{"type": "no such"}], ["x"], {"a": 1}, None, [{"type": "workflow.failed"}]],
    ids=["type", "text", "map", "none", "data"],
)
def test_a_history_that_makes_no_sense_is_a_finding_and_no_error(events: Any):
    """Whatever somebody wrote into the tables."""
    bench = Bench(factories.chain(1))
    bench.drive()
    stored = record(bench)
    packed = [*stored.packed[:-1], {**stored.packed[-1], "events": events}]
    assert kinds(replace(stored, packed=packed)) == {"run.unreadable"}
    strange = [{**stored.steps[0], "step_no": 10**9}]
    assert kinds(replace(stored, steps=strange)) == {"run.unreadable"}


def test_a_finding_names_ten_runs_and_the_count():
    """Once each, however much is wrong with it."""
    bench = Bench(factories.chain(1))
    bench.drive()
    broken = changed(record(bench), {"status": "failed", "finished_at": None}, {})
    (found,) = [one for one in findings(audit(broken)) if one.kind == "rows.differ"]
    assert (found.count, found.runs, len(found.details)) == (1, [RUN], 2)


def test_a_step_that_only_an_earlier_version_had_needs_no_row():
    """The row of one that the version has is missed."""
    bench = Bench(factories.plan(factories.step("a"), factories.step("b", "a")))
    bench.complete("a")
    stored = record(bench)
    (row,) = [one for one in stored.steps if one["step_no"] == bench.no("b")]
    assert "rows.missing" in kinds(replace(stored, steps=[row]))
    moved = replace(stored, plan=factories.plan(factories.step("b")), steps=[{**row, "step_no": 0}])
    assert "rows.missing" not in kinds(moved)
