"""Two runs beside each other: what differs in substance, and where that begins."""

from typing import Any

import pytest

from flowforge.model.changes import Change, changes
from flowforge.model.comparing import compare
from flowforge.model.outcome import Completed
from tests.factories import THRICE, chain, diamond, plan, rejoin, step
from tests.support.capsules import capsule
from tests.unit.decisions.bench import Bench


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [Change("a", "changed", 1, 2)]),
        ({"a": 1}, {"b": 1}, [Change("a", "removed", 1), Change("b", "added", None, 1)]),
        ({"a": None}, {}, [Change("a", "removed", None)]),
        ([1, 2, 3], [1, 9], [Change("[1]", "changed", 2, 9), Change("[2]", "removed", 3)]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, [Change("a[0].b", "changed", 1, 2)]),
        (1, True, [Change("", "changed", 1, True)]),
        (1, 1.0, []),
        ({"a": {}}, {"a": []}, [Change("a", "changed", {}, [])]),
    ],
)
def test_values_differ_place_by_place(before, after, found):
    assert changes(before, after) == found


def test_things_with_ids_are_known_by_them_wherever_they_stand():
    before = {"steps": [{"id": "a", "x": 1}, {"id": "b", "x": 1}]}
    after = {"steps": [{"id": "new"}, {"id": "b", "x": 1}, {"id": "a", "x": 2}]}
    assert changes(before, after) == [
        Change("steps[a].x", "changed", 1, 2),
        Change("steps[new]", "added", None, {"id": "new"}),
    ]


def driven(graph: Any, **how: Any) -> Any:
    bench = Bench(graph)
    bench.drive()
    return capsule(bench, **how)


def test_a_run_does_not_differ_from_itself():
    found = compare(driven(diamond()), driven(diamond()))
    assert (found.same, found.first, found.differs) == (True, None, ())


def test_how_long_it_took_is_told_and_is_no_difference():
    slow = Bench(chain(1))
    slow.after(seconds=5)
    slow.drive()
    found = compare(driven(chain(1)), capsule(slow, run_id=2))
    assert found.same
    assert found.document()["steps"][0]["seconds"] == {"before": {}, "after": {"queue": 5.0}}


def test_the_first_divergence_is_the_step_that_no_other_comes_before():
    before = driven(diamond(), outputs={"a": 1, "b": 2, "c": 3, "d": 4})
    after = driven(diamond(), outputs={"a": 1, "b": 2, "c": 9, "d": 8}, run_id=2)
    found = compare(before, after)
    assert not found.same
    assert found.first is not None
    assert (found.first.id, found.first.differs) == ("c", ("output",))
    assert [one.id for one in found.steps if not one.same] == ["c", "d"]


def test_another_branch_attempt_or_error_is_a_difference():
    yes, no = Bench(rejoin()), Bench(rejoin())
    yes.complete("if", branch="true")
    no.complete("if", branch="false")
    yes.drive()
    no.drive()
    found = compare(capsule(yes), capsule(no, run_id=2))
    assert found.first is not None
    assert (found.first.id, found.first.differs, found.first.branches) == ("if", ("branch",), ("true", "false"))
    assert {one.id: one.differs for one in found.steps if one.id != "if"} == {
        "yes": ("status", "attempts"),
        "no": ("status", "attempts"),
        "end": (),
    }


def test_a_retry_is_a_difference_and_so_is_what_it_failed_with():
    good, shaky, bad = (Bench(plan(step("a", retry=THRICE))) for _ in range(3))
    good.drive()
    shaky.fail("a")
    shaky.drive()
    for _ in range(3):
        bad.fail("a")
        bad.after(seconds=5)
        bad.wake()
    found = compare(capsule(good), capsule(shaky, run_id=2))
    assert [one.differs for one in found.steps] == [("attempts",)]
    found = compare(capsule(good), capsule(bad, run_id=3))
    assert [one.differs for one in found.steps] == [("status", "attempts", "error")]
    assert found.differs == ("status", "steps", "error")


def test_inputs_and_definitions_are_compared_place_by_place():
    one, two = Bench(chain(1)), Bench(chain(2))
    one.drive()
    two.claim("a0")
    two.settle("a0", Completed(None))
    two.drive()
    found = compare(capsule(one, input={"n": 1}), capsule(two, input={"n": 2}, run_id=2))
    assert found.input == (Change("n", "changed", 1, 2),)
    assert [one.path for one in found.definition] == ["steps[a1]"]
    assert found.first is not None
    assert (found.first.id, found.first.differs) == ("a1", ("missing",))
    document = found.document()
    assert document["schema"] == "flowforge/diff/v1"
    assert document["first"] == {"step": "a1", "differs": ["missing"]}
