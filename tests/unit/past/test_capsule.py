"""A capsule comes back as it was; what is no capsule is refused with what is wrong."""

import gzip
import json
from typing import Any

import pytest

from flowforge.errors import CapsuleError
from flowforge.model import unpacking
from flowforge.model.capsule import MAX_CHILDREN_DEPTH, Capsule, Log, family
from flowforge.model.unpacking import unpack
from tests.factories import chain, diamond, plan, step, undo
from tests.support.capsules import capsule
from tests.unit.decisions.bench import Bench


def finished() -> Capsule:
    bench = Bench(diamond())
    for name in "abcd":
        bench.after(seconds=1)
        bench.complete(name)
    made = capsule(bench, outputs={"a": {"x": [1, None, "é"]}}, input={"n": 1}, logs=(Log("a", 1, "hello\n"),))
    assert made.run.status.value == "completed"
    return made


def packed(document: Any) -> bytes:
    return gzip.compress(json.dumps(document).encode(), mtime=0)


def changed(**changes: Any) -> bytes:
    return packed(finished().document() | changes)


def test_a_capsule_comes_back_as_it_was():
    made = finished()
    found = unpack(made.pack())
    assert found == made
    assert found.document() == made.document()
    assert found.phases() == made.phases()


def test_the_same_run_gives_the_same_bytes():
    assert finished().pack() == finished().pack()


def test_a_run_that_was_undone_comes_back_with_what_was_undone():
    bench = Bench(plan(step("a", compensate=undo()), step("b", "a")))
    bench.complete("a")
    bench.fail("b")
    bench.drive()
    made = capsule(bench)
    assert unpack(made.pack()).run.compensation == made.run.compensation
    assert made.run.compensation.status == "completed"


def test_runs_that_steps_have_started_lie_in_it():
    made = capsule(Bench(chain(1)), children=(finished(),))
    found = unpack(made.pack())
    assert [one.run.id for one in family(found)] == [made.run.id, finished().run.id]


def test_what_a_later_release_adds_is_ignored():
    assert unpack(changed(colour="blue")) == finished()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 a zip", "not compressed with gzip"),
        (b"", "not compressed with gzip"),
        (b"\x1f\x8b nonsense", "cannot be unpacked"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], "its end is missing"),
        (gzip.compress(b"{}", mtime=0) + b"more", "something follows its end"),
        (gzip.compress(b"not json", mtime=0), "is not JSON"),
        (gzip.compress(b"[1]", mtime=0), "holds no JSON object"),
        (gzip.compress(b'{"schema": NaN}', mtime=0), "NaN"),
        (gzip.compress(b"[" * 100_000, mtime=0), "nested deeper"),
        (gzip.compress(b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}", mtime=0), "nested deeper"),
        (gzip.compress(b'{"schema": "\\ud800"}', mtime=0), "lone surrogate"),
        (gzip.compress(b'{"schema": "\\u0000"}', mtime=0), "NUL"),
        (packed({}), "this release reads flowforge/capsule/v1"),
        (packed({"schema": "flowforge/run/v1"}), "it is no capsule"),
        (packed({"schema": "flowforge/capsule/v9"}), "this release reads flowforge/capsule/v1"),
    ],
)
def test_what_is_no_capsule_is_refused(content, message):
    with pytest.raises(CapsuleError, match=message):
        unpack(content, name="x.ffz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": None}, "'run' is missing"),
        ({"run": []}, "'run' is not an object"),
        ({"events": []}, "does not begin with workflow.created"),
        ({"events": {}}, "'events' is not a list"),
        ({"events": [1]}, r"events\[0\]"),
        ({"definition": 5}, "'definition' is not an object"),
        ({"exported_at": "yesterday"}, "is not a time"),
        ({"exported_at": "2026-01-01T00:00:00"}, "without a zone"),
        ({"logs": [{"step": 1}]}, "'step' is not a text"),
        ({"redacted": [1]}, "not a list of texts"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_with_their_place(changes, message):
    with pytest.raises(CapsuleError, match=message):
        unpack(changed(**changes))


@pytest.mark.parametrize(
    ("no", "changes", "message"),
    [
        (1, {"seq": 7}, "the history has gaps"),
        (1, {"seq": True}, "not a whole number"),
        (1, {"type": "step.exploded"}, "does not know"),
        (3, {"data": {}}, "has no 'worker'"),
        (3, {"step": None}, "'step' is missing"),
        (1, {"attempt": 10**30}, "not a whole number"),
    ],
)
def test_a_history_that_cannot_be_rebuilt_is_refused(no, changes, message):
    document = finished().document()
    document["events"][no] |= changes
    with pytest.raises(CapsuleError, match=message):
        unpack(packed(document))


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_CONTENT", 10_000)
    with pytest.raises(CapsuleError, match="unpacks to more than 10,000 bytes"):
        unpack(gzip.compress(b" " * 10_000_000, mtime=0))


def test_a_file_of_an_absurd_size_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_FILE", 10)
    with pytest.raises(CapsuleError, match="larger than 10 bytes"):
        unpack(finished().pack())


def test_capsules_do_not_lie_in_each_other_without_end():
    document = finished().document()
    for _ in range(MAX_CHILDREN_DEPTH + 1):
        document = finished().document() | {"children": [document]}
    with pytest.raises(CapsuleError, match="more than 16 deep"):
        unpack(packed(document))
