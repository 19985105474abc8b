"""Filling a database with runs that ended long ago: copies, made in sets, of a few that really ran.

Whatever a run left in the tables is copied, whichever columns these have: ids and times move into the past, in their
order, and transaction ids to before all others, where the feed has nothing more to do; idempotency keys stay with who
had them. Afterwards the tables are vacuumed and analysed, as months of autovacuum would have left them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]
Show = Callable[[int, int], None]

#: Runs copied in one transaction, runs that are copied from, and days into which the copies are spread.
BATCH, TEMPLATES, DAYS = 20_000, 200, 30

#: Not what is still to be done about a run: nobody waits for a receipt of what ended long ago, or looks into it.
TABLES = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = 'flowforge' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
  AND NOT a.attisdropped AND a.attidentity = '' AND a.attgenerated = ''
  AND c.relname NOT IN ('receipts_due', 'incidents')
ORDER BY c.relname, a.attnum
"""
CHOOSE = """
CREATE TEMP TABLE templates AS
SELECT id, row_number() OVER (ORDER BY id) AS no
FROM (SELECT id FROM runs WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT %s) AS newest
"""
#: Parameters: how far the first copy lies back, and the first and last number of the batch.
NUMBER = """
CREATE TEMP TABLE copies ON COMMIT DROP AS
SELECT t.id AS old, uuidv7(s.shift) AS new, s.shift
FROM (SELECT no, make_interval(secs => -86400 * %s::float8 * (1 - no / %s::float8)) AS shift
      FROM generate_series(%s::int, %s::int) AS no) AS s
JOIN templates t ON t.no = 1 + s.no %% (SELECT count(*) FROM templates)
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that holds something of runs."""

    name: str
    columns: dict[str, str]

    @property
    def key(self) -> str:
        """The column that names the run."""
        return "id" if self.name == "runs" else "run_id"

    def copy(self) -> str:
        """Return the statement that copies the rows of one batch."""
        values = ", ".join(self._value(name, kind) for name, kind in self.columns.items())
        names = ", ".join(f'"{name}"' for name in self.columns)
        return (
            f"INSERT INTO {self.name} ({names}) SELECT {values} "
            f"FROM copies c JOIN {self.name} t ON t.{self.key} = c.old ORDER BY c.new"
        )

    def _value(self, name: str, kind: str) -> str:
        if name == self.key:
            return "c.new"
        if name == "idempotency_key":
            return "NULL"
        if kind == "timestamp with time zone":
            return f't."{name}" + c.shift'
        return "'3'::xid8" if kind == "xid8" else f't."{name}"'


def tables(connection: Connection) -> list[Table]:
    """Return the tables that hold something of runs."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(TABLES).fetchall():
        found.setdefault(table, {})[column] = kind
    return [Table(name, columns) for name, columns in found.items() if name == "runs" or "run_id" in columns]


class Filler:
    """Fills one database, in steps."""

    def __init__(self, connection: Connection, total: int) -> None:
        self._connection, self._total = connection, total
        self._tables = tables(connection)
        self._done = 0
        connection.execute("SET synchronous_commit = off")
        connection.execute(CHOOSE, (TEMPLATES,))

    def fill(self, wanted: int, show: Show) -> None:
        """Copy runs until there are as many copies as wanted."""
        while self._done < wanted:
            last = min(wanted, self._done + BATCH)
            with self._connection.transaction():
                self._connection.execute(NUMBER, (DAYS, self._total, self._done, last - 1))
                for table in self._tables:
                    self._execute(table.copy())
            self._done = last
            show(last, wanted)
        for table in self._tables:
            self._execute(f"VACUUM (ANALYZE) {table.name}")
        self._connection.execute("CHECKPOINT")

    def _execute(self, statement: str) -> None:
        self._connection.execute(statement.encode())
