"""Packed arrays: what Postgres takes in is what was given, whatever it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowforge.store import binary
from tests.support.sql import Sql

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - naive bounds
COLUMNS = [
    (binary.int2s, "int2[]", st.integers(-(2**15), 2**15 - 1)),
    (binary.int4s, "int4[]", st.integers(-(2**31), 2**31 - 1)),
    (binary.int8s, "int8[]", st.none() | st.integers(-(2**63), 2**63 - 1)),
    (binary.bools, "bool[]", st.booleans()),
    (binary.texts, "text[]", st.none() | TEXT),
    (binary.words, "text[]", st.none() | TEXT),
    (binary.times, "timestamptz[]", st.none() | TIMES),
    (binary.uuids, "uuid[]", st.uuids()),
    (binary.optional_uuids, "uuid[]", st.none() | st.uuids()),
]


@pytest.mark.parametrize(("pack", "kind", "values"), COLUMNS, ids=[f"{pack.__name__}" for pack, _, _ in COLUMNS])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_packed_column_arrives_as_it_was(sql: Sql, pack: Any, kind: str, values: Any, data: st.DataObject):
    """Empty ones and those that hold one value over and over included."""
    column = data.draw(st.lists(values, max_size=30) | st.builds(lambda one, n: [one] * n, values, st.integers(1, 30)))
    with sql.connection.cursor() as cursor:
        row = cursor.execute(f"SELECT %b::{kind}".encode(), (pack(tuple(column)),)).fetchone()
    assert row is not None
    assert row[0] == column


def test_the_driver_reads_ids_as_uuids(sql: Sql):
    """Built without the constructor, and equal to those that are not."""
    one = UUID("0199a8b0-0000-7000-8000-0000000000ff")
    with sql.connection.cursor(binary=True) as cursor:
        row = cursor.execute("SELECT %s::uuid", (str(one),)).fetchone()
    assert row is not None
    found = row[0]
    assert (found, hash(found), str(found), found.version) == (one, hash(one), str(one), 7)


@pytest.mark.parametrize(
    ("pack", "value"), [(binary.int4s, 2**31), (binary.texts, "\ud800"), (binary.words, "a\udfff")]
)
def test_what_postgres_does_not_know_is_an_error_of_the_row(pack: Any, value: object):
    """The same kind that Postgres would raise, so that a batch can be taken apart."""
    with pytest.raises(psycopg.DataError):
        pack((value,))
