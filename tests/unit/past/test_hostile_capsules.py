"""Whatever stands in a capsule: it is refused, or everything that can be asked of it is answered."""

import copy
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.errors import FlowforgeError
from flowforge.model.capsule import Log
from flowforge.model.comparing import compare
from flowforge.model.masking import Mask
from flowforge.model.outcome import Waiting
from flowforge.model.past import as_it_was
from flowforge.model.unpacking import unpack
from flowforge_cli import diff_text, past_text, run_text
from tests import factories
from tests.factories import THRICE, plan, step, undo
from tests.support.capsules import capsule
from tests.unit.decisions.bench import Bench
from tests.unit.past.steadily import steadily

VALUES = [
    None,
    True,
    0,
    -1,
    2**40,
    1e300,
    "",
    "x",
    "\x1b]0;owned\x07",
    [],
    {},
    [1],
    {"id": "a"},
    "0001-01-01T00:00:00+14:00",
]


def eventful() -> dict[str, Any]:
    """Return the document of a run that has gone through a lot."""
    bench = Bench(
        plan(
            step("a", retry=THRICE, compensate=undo()),
            factories.waiting("ask", type="approval"),
            factories.foreach("each", children=[step("x")]),
            step("b", "ask", "each"),
        )
    )
    bench.fail("a")
    bench.claim("ask")
    bench.settle("ask", Waiting(None, approvals=2))
    bench.decide("ask", "bob")
    bench.after(seconds=1)
    bench.wake()
    bench.complete("a")
    bench.decide("ask", "cyd")
    bench.complete("ask")
    bench.claim("each")
    bench.settle("each", bench.done(bench.no("each")))
    bench.cancel()
    bench.retry()
    return capsule(bench, outputs={"a": {"x": [1]}}, logs=(Log("a", 1, "text"),)).document()


DOCUMENT = eventful()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside another one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


PLACES = list(places(DOCUMENT))


def changed(path: tuple[Any, ...], value: Any, *, removed: bool) -> bytes:
    document = copy.deepcopy(DOCUMENT)
    around: Any = document
    for key in path[:-1]:
        around = around[key]
    if removed:
        del around[path[-1]]
    else:
        around[path[-1]] = value
    return gzip.compress(json.dumps(document).encode())


def looked_at_from_every_side(content: bytes) -> None:
    """Open a capsule and ask it everything; nothing but our own errors may come of it."""
    try:
        found = unpack(content)
        moments = [as_it_was(found, seq=seq) for seq in (0, 3, 10, len(found.events))]
        difference = compare(found, moments[2])
    except FlowforgeError:
        return
    Mask().capsule(found).pack()
    for one in (found, *moments):
        one.document()
        past_text.ledger_lines(one.phases())
        past_text.ledger_table(one.phases())
        run_text.headline(one.run, unicode=True)
        run_text.details(one.run, one.exported_at)
        run_text.steps_table(one.run.steps or (), one.exported_at, unicode=True)
        run_text.compensation(one.run.compensation, one.exported_at, unicode=True)
        for event in one.events:
            run_text.event_line(event, one.run.created_at)
    diff_text.lines(difference, unicode=True)
    difference.document()


@steadily
@given(st.data())
def test_a_changed_value_is_refused_or_harmless(data):
    for _ in range(5):
        path, value = data.draw(st.sampled_from(PLACES)), data.draw(st.sampled_from(VALUES))
        looked_at_from_every_side(changed(path, value, removed=data.draw(st.integers(0, 4)) == 0))


def test_a_definition_that_is_none_is_an_error_of_the_one_who_asks():
    document = copy.deepcopy(DOCUMENT) | {"definition": {"name": "x", "steps": [{"id": "a", "type": "no such"}]}}
    found = unpack(gzip.compress(json.dumps(document).encode()))
    with pytest.raises(FlowforgeError):
        found.phases()
