"""Which events of a history are asked for."""

from datetime import timedelta

import pytest

from flowforge.errors import UsageError
from flowforge.model.selecting import EventFilter
from tests.factories import chain, fan
from tests.support.capsules import capsule
from tests.unit.decisions.bench import START, Bench


def events(bench: Bench):
    return capsule(bench).events


def test_types_may_be_given_in_part():
    bench = Bench(chain(1))
    bench.fail("a0")
    found = events(bench)
    assert [one.type for one in EventFilter(types=("*.failed",)).chosen(found)] == ["step.failed", "workflow.failed"]
    assert all(one.step for one in EventFilter(types=("step.*",)).chosen(found))
    with pytest.raises(UsageError, match=r"no event has the type 'step\.faild'") as caught:
        EventFilter(types=("step.faild",))
    assert caught.value.hint == "did you mean 'step.failed'?"


def test_a_step_stands_for_those_inside_it():
    bench = Bench(fan(2))
    bench.drive()
    found = EventFilter(steps=("fan",)).chosen(events(bench))
    assert {one.step for one in found} == {"fan", "fan.c0", "fan.c1"}


def test_numbers_times_and_a_limit_cut_out_a_part():
    bench = Bench(chain(3))
    for name in ("a0", "a1", "a2"):
        bench.after(seconds=1)
        bench.complete(name)
    found = events(bench)
    assert [one.seq for one in EventFilter(after=3, limit=2).chosen(found)] == [4, 5]
    second = EventFilter(since=START + timedelta(seconds=2), until=START + timedelta(seconds=3)).chosen(found)
    assert {one.step for one in second} == {"a1", "a2"}
    assert EventFilter().chosen(found) == list(found)
