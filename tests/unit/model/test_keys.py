"""Search keys: which values are keys, and how they are written."""

from __future__ import annotations

import pytest

from flowforge.model import keys


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42, "42"),
        (9.5, "9.5"),
        (True, "true"),
        ("Ada", "Ada"),
        ("", ""),
        ("x" * 200, "x" * 200),
        ("x" * 201, None),
        ("a\0b", None),
        (None, None),
        ([1], None),
        ({}, None),
    ],
)
def test_scalars_are_keys(value, text):
    """Text as it is, all else as JSON; containers, null and what is too long are none."""
    assert keys.text(value) == text


def test_declared_fields_are_found_by_their_path():
    """In mappings and lists; those that are not there are left out."""
    document = {"customer": {"id": 42}, "lines": [{"total": 9.5}], "note": None}
    declared = ("input.customer.id", "input.lines.0.total", "input.note", "input.lines.7.total", "output.customer.id")
    found = dict(keys.of_fields(declared, "input", document))
    assert found == {"input.customer.id": "42", "input.lines.0.total": "9.5"}
    assert dict(keys.of_fields(declared, "output", {"customer": {"id": "x"}})) == {"output.customer.id": "x"}
    assert not dict(keys.of_fields(declared, "output", "text"))


def test_labels_are_keys_of_every_run():
    """Unless they are longer than keys may be."""
    assert dict(keys.of_labels({"team": "a", "long": "x" * 300})) == {"label.team": "a"}
    assert not list(keys.of_labels(None))
