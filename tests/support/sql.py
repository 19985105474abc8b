"""A look at the tables that shares nothing with the code under test but the numbers of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg

from flowforge.model.load import from_data


class Sql:
    """A connection of the test's own, in autocommit mode."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True, options="-c search_path=flowforge -c timezone=UTC")

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.connection.execute(query.encode(), parameters or None).fetchall()

    def value(self, query: str, *parameters: Any) -> Any:
        """Return the only column of the only row."""
        (row,) = self.rows(query, *parameters)
        return row[0]

    def do(self, statement: str, *parameters: Any) -> int:
        """Run a statement; return how many rows it changed."""
        return self.connection.execute(statement.encode(), parameters or None).rowcount

    def session(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open another connection, in which statements form a transaction; the caller closes it."""
        return psycopg.connect(self.url, options="-c search_path=flowforge -c timezone=UTC")

    def sabotage(
        self, table: str, code: str, *, times: int = 1, run: UUID | None = None, at_commit: bool = False
    ) -> Callable[[], int]:
        """Let Postgres raise an error when a row of *table* is written; return how often that was tried, so far.

        *code* is an SQLSTATE, or `kill`: the backend dies. The first *times* tries fail; *run* limits it to one run.
        """
        name = f"sabotage_{table}_{code.lower()}"
        self.do(f"CREATE SEQUENCE {name}")
        act = (
            "PERFORM pg_terminate_backend(pg_backend_pid())"
            if code == "kill"
            else f"RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'"
        )
        self.do(
            f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN IF nextval('flowforge.{name}') <= {times} THEN {act}; END IF; RETURN NULL; END $$"""
        )
        column = "id" if table == "runs" else "run_id"
        when = "" if run is None else f"WHEN (new.{column} = '{run}')"
        deferred = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
        self.do(
            f"""CREATE {"CONSTRAINT" if at_commit else ""} TRIGGER {name} AFTER INSERT OR UPDATE ON {table} {deferred}
                FOR EACH ROW {when} EXECUTE FUNCTION {name}()"""
        )
        return lambda: int(self.value(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {name}"))

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    # -- the questions most tests ask ----------------------------------------------------------------------

    def status(self, run_id: UUID) -> str:
        """Return a run's status."""
        return str(self.value("SELECT status::text FROM runs WHERE id = %s", run_id))

    def steps(self, run_id: UUID) -> dict[str, str]:
        """Return the statuses of a run's steps that have rows, by step id."""
        definition = self.value(
            "SELECT v.definition FROM runs r JOIN workflow_versions v ON v.id = r.version_id WHERE r.id = %s", run_id
        )
        steps = from_data(definition).plan.steps
        query = "SELECT step_no, status::text FROM steps WHERE run_id = %s ORDER BY step_no"
        return {steps[no].id: status for no, status in self.rows(query, run_id)}

    def events(self, run_id: UUID) -> list[str]:
        """Return a run's events in order, as `type` or `type step`."""
        query = "SELECT concat_ws(' ', type, step) FROM events WHERE run_id = %s ORDER BY seq"
        return [row[0] for row in self.rows(query, run_id)]

    def counts(self, table: str) -> int:
        """Return how many rows a table has."""
        return int(self.value(f"SELECT count(*) FROM {table}"))
