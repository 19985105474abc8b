"""Finding runs among millions: the newest, or first by another order, that a filter matches, a page at a time.

The planner cannot know how rare what is asked for is, and takes the wrong index when it guesses wrongly; so the index
is chosen here. A statement walks one index in order (`Source`), and looks at what is left of the filter in the rows
that come out. Invariant: no statement looks at more rows than a bound; where it was reached, the page says how far it
came, and the next page goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from flowforge.model.documents import RunFilter, Sort
from flowforge.model.status import RunStatus
from flowforge.store import sources
from flowforge.store.conditions import Parameters, conditions
from flowforge.store.database import Connection

#: Rows that one statement looks at: where columns of the row decide, where something has to be parsed or sorted, and
#: where each row has to be looked up.
MOST, MOST_SLOWLY, MOST_LOOKED_UP = 100_000, 20_000, 10_000
#: Runs that are counted.
MOST_COUNTED = 50_000

_ORDERS: dict[Sort, str] = {
    "created": "r.id DESC",
    "started": "coalesce(r.started_at, r.created_at) DESC",
    "finished": "r.finished_at DESC",
    "duration": "(coalesce(r.finished_at, now()) - r.started_at) DESC",
    "workflow": "(SELECT w.name FROM workflows w WHERE w.id = r.workflow_id)",
}
_TYPES = {"started": "timestamptz", "finished": "timestamptz", "duration": "interval", "workflow": "text"}
#: Conditions for which something has to be parsed or joined.
_SLOW = ("step", "word", "without", "input.", "output.")
#: What has to hold for a run to have a place in the order.
_PLACED = {"finished": "r.finished_at IS NOT NULL", "duration": "r.started_at IS NOT NULL"}


@dataclass(frozen=True, slots=True)
class Page:
    """Ids of runs that a filter matches, in order."""

    ids: tuple[UUID, ...]
    #: Of how many runs they were chosen, where that was the bound and there may be more; None: of all there are.
    looked_at: int | None = None
    #: The last run that was looked at: the next page begins behind it.
    reached: UUID | None = None
    #: Versions (`name@2`) that do not declare a field that others do: their runs were left out.
    undeclared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Statement:
    #: Selects ids, in order.
    text: str
    #: Selects what is looked at: `at`, in the order in which that is walked.
    walked: str
    #: Rows of runs that match, for a FROM, in no order.
    matching: str
    parameters: dict[str, Any]
    #: Rows that are looked at; None where each of them matches.
    bound: int | None
    #: The condition of runs that it leaves out, which come behind its own.
    lacks: str


async def search(connection: Connection, wanted: RunFilter) -> Page:
    """Return a page of the runs that a filter matches."""
    scope = await sources.scope(connection, wanted)
    if scope.nothing:
        return Page(())
    anchor = await _anchor(connection, wanted)
    statement = _statement(wanted, scope, anchor)
    page = await _page(connection, wanted, scope, statement)
    if not statement.lacks or len(page.ids) == wanted.limit:
        return page
    rest = replace(wanted, limit=wanted.limit - len(page.ids))
    behind = await _page(connection, rest, scope, _statement(rest, scope, anchor, only=statement.lacks))
    return replace(behind, ids=page.ids + behind.ids)


async def _page(connection: Connection, wanted: RunFilter, scope: sources.Scope, statement: _Statement) -> Page:
    """Execute a statement, and say how far it came where its bound was reached."""
    ids = await _ids(connection, statement.text, statement.parameters)
    if statement.bound is None or (len(ids) == wanted.limit and wanted.sort == "created"):
        return Page(ids, undeclared=scope.undeclared)
    walked = f"SELECT count(*)::int4, (array_agg(at))[count(*)] FROM ({statement.walked}) AS seen"  # noqa: S608 - parts are constants
    cursor = await connection.cursor(binary=True).execute(walked.encode(), statement.parameters)
    row = await cursor.fetchone()
    assert row is not None
    if row[0] < statement.bound:
        return Page(ids, undeclared=scope.undeclared)
    return Page(ids, looked_at=row[0], reached=row[1], undeclared=scope.undeclared)


async def count(connection: Connection, wanted: RunFilter) -> dict[RunStatus, tuple[int, bool]]:
    """Return how many runs of each status a filter matches, and whether these are all."""
    scope = await sources.scope(connection, wanted)
    statuses = wanted.statuses or tuple(RunStatus)
    if scope.nothing:
        return {}
    # Few runs are counted at one go; of all, those of each status have an index, but for the completed ones.
    together = [wanted.statuses] if sources.rare(wanted, scope) else [(status,) for status in statuses]
    found: dict[RunStatus, tuple[int, bool]] = {}
    for some in together:
        one = replace(wanted, statuses=some, limit=MOST_COUNTED, sort="created", after=None)
        statement = _statement(one, scope, None, MOST_COUNTED)
        cursor = await connection.cursor(binary=True).execute(_counting(some, statement), statement.parameters)
        bound = statement.bound or MOST_COUNTED
        found |= {RunStatus(name): (number, seen < bound) for name, number, seen in await cursor.fetchall()}
    return found


def _counting(statuses: tuple[RunStatus, ...], statement: _Statement) -> bytes:
    """Return what counts runs by status, and those that were looked at; where all of one status match, ids do."""
    seen = f"(SELECT count(*)::int4 FROM ({statement.walked}) AS seen)"  # noqa: S608 - parts are constants
    if statement.bound is None and len(statuses) == 1:
        return f"SELECT '{statuses[0].value}', {seen}, {seen} WHERE {seen} > 0".encode()
    return f"SELECT status::text, count(*)::int4, {seen} FROM {statement.matching} GROUP BY status".encode()  # noqa: S608 - parts are constants


async def _ids(connection: Connection, text: str, parameters: dict[str, Any]) -> tuple[UUID, ...]:
    cursor = await connection.cursor(binary=True).execute(text.encode(), parameters)
    return tuple([row[0] for row in await cursor.fetchall()])


async def _anchor(connection: Connection, wanted: RunFilter) -> Any:
    """Return what the last run of the page before is sorted by."""
    if wanted.after is None or wanted.sort == "created":
        return None
    expression = _ORDERS[wanted.sort].removesuffix(" DESC")
    text = f"SELECT {expression} FROM runs r WHERE r.id = %b::uuid"  # noqa: S608 - constants
    row = await (await connection.cursor(binary=True).execute(text.encode(), (wanted.after,))).fetchone()
    return row and row[0]


def _statement(wanted: RunFilter, scope: sources.Scope, anchor: Any, most: int = MOST, only: str = "") -> _Statement:
    """Return what finds runs; *only* is one more condition, of what the source in this order leaves out."""
    parameters = Parameters()
    asked = {**conditions(wanted, parameters), **sources.within(scope, parameters)}
    if wanted.sort in _PLACED:
        asked["placed"] = _PLACED[wanted.sort]
    if anchor is not None and wanted.after is not None:
        asked["behind"] = _behind(wanted.sort, parameters.bind(anchor, _TYPES[wanted.sort]), wanted.after, parameters)
    if only:
        asked["only"] = only
    source = sources.newest(wanted, scope, parameters) if only else sources.choose(wanted, scope, parameters, anchor)
    left = [condition for name, condition in asked.items() if name not in source.answers]
    in_order = wanted.sort == source.order
    slowly = not in_order or any(name.startswith(_SLOW) for name in asked)
    most = min(most, MOST_SLOWLY if slowly else most, most if source.whole else MOST_LOOKED_UP)
    bound = None if in_order and not left else most
    walked = source.walk(parameters.bind(wanted.limit if bound is None else bound, "int8"))
    where = f" WHERE {' AND '.join(left)}" if left else ""
    ordering = source.ordering if in_order else f"{_ORDERS[wanted.sort]}, at DESC"
    limit = parameters.bind(wanted.limit, "int8")
    text = f"SELECT r.at FROM {source.rows(walked)} AS r{where} ORDER BY {ordering} LIMIT {limit}"  # noqa: S608 - parts are constants
    return _Statement(text, walked, f"{source.rows(walked)} AS r{where}", dict(parameters), bound, source.lacks)


def _behind(sort: Sort, anchor: str, after: UUID, parameters: Parameters) -> str:
    """Return the condition that a run comes behind the page before, in an order other than that of ids."""
    last = parameters.bind(after, "uuid")
    expression = _ORDERS[sort].removesuffix(" DESC")
    if sort == "workflow":
        return f"({expression} > {anchor} OR ({expression} = {anchor} AND r.id < {last}))"
    return f"({expression}, r.id) < ({anchor}, {last})"
