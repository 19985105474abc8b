"""The connection of whoever only looks: it cannot write, and it plans for large tables, as the engine's must not.

The engine's sessions go by keys, row by row; questions about a million runs need scans, hashes and sorts in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from flowforge.errors import BackendError
from flowforge.store.database import SCHEMA, Connection, connect
from flowforge.store.forensics import window

OPTIONS = (
    f"-c search_path={SCHEMA} -c default_transaction_read_only=on -c timezone=UTC -c statement_timeout=60s "
    "-c idle_in_transaction_session_timeout=15s -c work_mem=128MB -c hash_mem_multiplier=8 "
    "-c jit=off -c max_parallel_workers_per_gather=2"
)


async def open_connection(url: str) -> Connection:
    """Open a connection that can only read; raise DatabaseUnavailable."""
    return await connect(url, options=OPTIONS, prepare_threshold=None, application_name="flowforge-forensics")


async def estimate(connection: Connection, values: Mapping[str, Any]) -> float:
    """Return about how many runs lived in a window."""
    _, rows = await ask(connection, window.ESTIMATE, values)
    return float(rows[0][0][0]["Plan"]["Plan Rows"])


async def ask(
    connection: Connection, statement: str, values: Mapping[str, Any]
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of the columns and the rows of a statement's answer."""
    try:
        cursor = await connection.execute(statement.encode(), values)
        rows = await cursor.fetchall()
    except psycopg.errors.QueryCanceled as error:
        raise BackendError(
            "the question took Postgres longer than a minute", hint="ask about less time: since='1h'"
        ) from error
    return [column.name for column in cursor.description or ()], rows
