"""Which index a search walks: the one that leaves least to look at, chosen from what is asked for.

Every source is a SELECT that gives runs in an order, with `ROWS` where the number of them goes; all conditions that it
does not answer are looked at in its rows. One value of an index is walked in order; of several, each is, and the first
of all are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from flowforge.model.documents import RunFilter
from flowforge.model.keys import LONGEST
from flowforge.model.status import StepStatus
from flowforge.store.conditions import Parameters, only_active, only_unsuccessful, span
from flowforge.store.database import Connection

#: Triggers that most runs have, which therefore have no place in the index of triggers.
COMMON_TRIGGERS = frozenset({"api", "cli"})
#: How long a run has to take to have a place in the index of durations.
LONG = "interval '1 second'"

_SCOPE = """
SELECT w.id, w.name, v.id, v.version, {declared} FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id
WHERE v.status <> 'draft'"""


@dataclass(frozen=True, slots=True)
class Scope:
    """The workflows and versions that a filter is about; None: all."""

    workflows: tuple[int, ...] | None = None
    versions: tuple[int, ...] | None = None
    #: Fields that a version in it declares.
    declared: frozenset[str] = frozenset()
    #: Versions (`name@2`) that do not declare all of these.
    undeclared: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether there is no such workflow or version."""
        return self.workflows == () or self.versions == ()


@dataclass(frozen=True, slots=True)
class Source:
    """A walk over one index."""

    #: Selects runs, or ids of runs as `at`, in order.
    text: str
    #: Names of the conditions that hold for all that it gives.
    answers: frozenset[str] = frozenset()
    #: What it gives is in this order, which is spelled like that.
    order: str = "created"
    ordering: str = "at DESC"
    #: Whether it gives whole rows, and not only ids.
    whole: bool = True
    #: The condition of runs that it leaves out, all of which come behind its own in its order.
    lacks: str = ""

    def walk(self, rows: str) -> str:
        """Return the statement that gives so many rows."""
        return self.text.replace("ROWS", rows)

    def rows(self, walked: str) -> str:
        """Return the rows of runs, for a FROM; each is looked up on its own, so that none is that is not needed."""
        if self.whole:
            return f"({walked})"
        return (
            f"(SELECT k.at, r.* FROM ({walked}) AS k "  # noqa: S608 - parts are constants
            "CROSS JOIN LATERAL (SELECT * FROM runs WHERE runs.id = k.at LIMIT 1) AS r)"
        )


async def scope(connection: Connection, wanted: RunFilter) -> Scope:
    """Look up the workflows and versions that a filter names, and which of them declare its fields."""
    if wanted.workflow is None and wanted.version is None and not wanted.fields:
        return Scope()
    query = _SCOPE.format(declared="v.definition -> 'search'" if wanted.fields else "NULL")
    parameters = Parameters()
    if wanted.workflow is not None:
        pattern = wanted.workflow.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_").replace("*", "%")
        query += f" AND w.name LIKE {parameters.bind(pattern, 'text')}"
    if wanted.version is not None:
        query += f" AND v.version = {parameters.bind(wanted.version, 'int4')}"
    if wanted.workflow is None and wanted.version is None:
        query += " AND v.definition ? 'search'"
    cursor = await connection.cursor(binary=True).execute(query.encode(), dict(parameters))
    rows = await cursor.fetchall()
    asked = {name for name, value in wanted.fields if len(value) <= LONGEST}
    declared = frozenset(name for row in rows for name in row[4] or () if name in asked)
    lacking = tuple(f"{row[1]}@{row[3]}" for row in rows if declared - set(row[4] or ()))
    if wanted.workflow is None and wanted.version is None:
        return Scope(declared=declared, undeclared=lacking)
    workflows = tuple(dict.fromkeys(row[0] for row in rows))
    versions = None if wanted.version is None else tuple(row[2] for row in rows)
    return Scope(workflows if wanted.workflow is not None else None, versions, declared, lacking)


def within(found: Scope, parameters: Parameters) -> dict[str, str]:
    """Return the conditions that a run is of these workflows and versions."""
    conditions = {}
    if found.workflows is not None:
        conditions["workflow"] = f"r.workflow_id = ANY({parameters.bind(list(found.workflows), 'int8[]')})"
    if found.versions is not None:
        conditions["version"] = f"r.version_id = ANY({parameters.bind(list(found.versions), 'int8[]')})"
    return conditions


def choose(wanted: RunFilter, found: Scope, parameters: Parameters, anchor: Any = None) -> Source:
    """Return the source that leaves least to look at."""
    return _sorted(wanted, found, parameters, anchor) or newest(wanted, found, parameters)


def newest(wanted: RunFilter, found: Scope, parameters: Parameters) -> Source:
    """Return the source that leaves least to look at of those that give the newest runs first."""
    return next(_rare(wanted, found, parameters), None) or next(_common(wanted, found, parameters))


def rare(wanted: RunFilter, found: Scope) -> bool:
    """Whether what is asked for leads to few runs, whatever their status."""
    return next(_rare(replace(wanted, statuses=()), found, Parameters()), None) is not None


def _rare(wanted: RunFilter, found: Scope, parameters: Parameters) -> Iterator[Source]:
    """Yield sources of what few runs have, the best first."""
    yield from _related(wanted, parameters)
    for name, value in wanted.fields:
        if name in found.declared:
            yield _key(name, value, wanted, parameters)
    for name, value in wanted.labels:
        if len(name) <= LONGEST and len(value) <= LONGEST:
            yield _key(f"label.{name}", value, wanted, parameters)
    if wanted.error is not None:
        condition = f"r.error ->> 'code' = {parameters.bind(wanted.error, 'text')} AND r.error IS NOT NULL"
        yield _one(condition, "error", wanted, parameters)
    for step, state in wanted.steps:
        if state is StepStatus.FAILED:
            yield _failed_step(step, wanted, parameters)
    if only_active(wanted) or any(not state.final for _, state in wanted.steps):
        yield _active(wanted, found, parameters)
    if only_unsuccessful(wanted):
        yield _unsuccessful(wanted, found, parameters)


def _related(wanted: RunFilter, parameters: Parameters) -> Iterator[Source]:
    """Yield sources of runs that come from another one."""
    if isinstance(wanted.replay_of, UUID):
        condition = f"r.replay_of = {parameters.bind(wanted.replay_of, 'uuid')}"
        yield _one(condition, "replay", wanted, parameters)
    if isinstance(wanted.parent, UUID):
        condition = f"r.parent_run_id = {parameters.bind(wanted.parent, 'uuid')}"
        ids = f"SELECT r.id FROM runs r WHERE {condition}{span(wanted, parameters, 'r.id')} OFFSET 0"  # noqa: S608 - parts are constants
        yield _ids(ids, "parent")


def _common(wanted: RunFilter, found: Scope, parameters: Parameters) -> Iterator[Source]:
    """Yield sources of what many runs have; the last has all."""
    if found.versions is not None:
        yield _each(found.versions, "version_id", "version", wanted, parameters)
    if wanted.trigger is not None and wanted.trigger not in COMMON_TRIGGERS:
        condition = f"r.trigger = {parameters.bind(wanted.trigger, 'text')} AND r.trigger NOT IN ('api', 'cli')"
        yield _one(condition, "trigger", wanted, parameters)
    if found.workflows is not None:
        yield _each(found.workflows, "workflow_id", "workflow", wanted, parameters)
    yield _one("true", "", wanted, parameters)


def _one(condition: str, answers: str, wanted: RunFilter, parameters: Parameters) -> Source:
    """Walk one value of an index whose next column is the id."""
    text = f"""SELECT r.id AS at, r.* FROM runs r WHERE {condition}{span(wanted, parameters, "r.id")}
        ORDER BY r.id DESC LIMIT ROWS"""  # noqa: S608 - parts are constants
    return Source(text, frozenset({answers}))


def _ids(select: str, *answers: str) -> Source:
    """Take ids from a statement that gives them in any order, all of them."""
    text = f"SELECT found.id AS at FROM ({select}) AS found ORDER BY found.id DESC LIMIT ROWS"  # noqa: S608 - parts are constants
    return Source(text, frozenset(answers), whole=False)


def _key(name: str, value: str, wanted: RunFilter, parameters: Parameters) -> Source:
    bind = parameters.bind
    text = f"""SELECT k.run_id AS at FROM run_keys k WHERE k.name = {bind(name, "text")}
        AND k.value = {bind(value, "text")}{span(wanted, parameters, "k.run_id")}
        ORDER BY k.run_id DESC LIMIT ROWS"""  # noqa: S608 - parts are constants
    return Source(text, frozenset({name}), whole=False)


def _failed_step(step: str, wanted: RunFilter, parameters: Parameters) -> Source:
    """Walk the steps that have an error and one of the numbers that steps of this id have."""
    text = f"""SELECT DISTINCT failed.run_id AS at
        FROM (SELECT DISTINCT step_no FROM workflow_steps WHERE step_id = {parameters.bind(step, "text")}) AS named
        CROSS JOIN LATERAL (
            SELECT s.run_id FROM steps s WHERE s.step_no = named.step_no AND s.error IS NOT NULL
            {span(wanted, parameters, "s.run_id")} ORDER BY s.run_id DESC LIMIT ROWS) AS failed
        ORDER BY at DESC LIMIT ROWS"""  # noqa: S608 - parts are constants
    return Source(text, whole=False)


def _active(wanted: RunFilter, found: Scope, parameters: Parameters) -> Source:
    """Take the runs that have not ended: never more than an installation can carry."""
    conditions, answers = ["r.finished_at IS NULL"], []
    if wanted.statuses:
        statuses = parameters.bind([status.value for status in wanted.statuses], "text[]")
        conditions.append(f"r.status = ANY({statuses}::run_status[])")
        answers.append("status")
    if found.workflows is not None:
        conditions.append(within(found, parameters)["workflow"])
        answers.append("workflow")
    # Without OFFSET the planner may walk the ids of all runs from the end, hoping to meet active ones soon.
    select = f"SELECT r.id FROM runs r WHERE {' AND '.join(conditions)}{span(wanted, parameters, 'r.id')} OFFSET 0"  # noqa: S608 - parts are constants
    return _ids(select, *answers)


def _unsuccessful(wanted: RunFilter, found: Scope, parameters: Parameters) -> Source:
    """Walk the failed and the cancelled runs, of some workflows or of all."""
    bind = parameters.bind
    values = f"unnest({bind([status.value for status in wanted.statuses], 'text[]')}::run_status[]) AS one (status)"
    condition, answers = "r.status = one.status AND r.status IN ('failed', 'cancelled')", {"status"}
    if found.workflows is not None:
        values += f" CROSS JOIN unnest({bind(list(found.workflows), 'int8[]')}) AS which (workflow_id)"
        condition += " AND r.workflow_id = which.workflow_id"
        answers.add("workflow")
    return _several(values, condition, frozenset(answers), wanted, parameters)


def _each(ids: tuple[int, ...], column: str, answers: str, wanted: RunFilter, parameters: Parameters) -> Source:
    if len(ids) == 1:
        return _one(f"r.{column} = {parameters.bind(ids[0], 'int8')}", answers, wanted, parameters)
    values = f"unnest({parameters.bind(list(ids), 'int8[]')}) AS one (value)"
    return _several(values, f"r.{column} = one.value", frozenset({answers}), wanted, parameters)


def _several(values: str, condition: str, answers: frozenset[str], wanted: RunFilter, parameters: Parameters) -> Source:
    """Walk each of several values of an index whose next column is the id, and take the newest of all."""
    text = f"""SELECT newest.id AS at FROM {values} CROSS JOIN LATERAL (
            SELECT r.id FROM runs r WHERE {condition}{span(wanted, parameters, "r.id")}
            ORDER BY r.id DESC LIMIT ROWS) AS newest
        ORDER BY newest.id DESC LIMIT ROWS"""  # noqa: S608 - parts are constants
    return Source(text, answers, whole=False)


# -- in another order --------------------------------------------------------------------------------------


def _sorted(wanted: RunFilter, found: Scope, parameters: Parameters, anchor: Any) -> Source | None:
    """Return what walks all runs in the order that is asked for; None where a filter leaves fewer to sort."""
    order = RunFilter(limit=wanted.limit, sort=wanted.sort, after=wanted.after)
    if wanted.sort == "workflow" and wanted == replace(order, workflow=wanted.workflow):
        return _by_workflow(wanted, found, parameters, anchor)
    if wanted.sort == "finished" and wanted == order:
        return _by_end(wanted, parameters, anchor)
    return _by_duration(wanted, parameters, anchor) if wanted.sort == "duration" and wanted == order else None


def _after(expression: str, kind: str, wanted: RunFilter, parameters: Parameters, anchor: Any) -> str:
    if anchor is None or wanted.after is None:
        return ""
    return f" AND ({expression}, r.id) < ({parameters.bind(anchor, kind)}, {parameters.bind(wanted.after, 'uuid')})"


def _by_end(wanted: RunFilter, parameters: Parameters, anchor: Any) -> Source:
    after = _after("r.finished_at", "timestamptz", wanted, parameters, anchor)
    text = f"""SELECT r.id AS at, r.* FROM runs r WHERE r.finished_at IS NOT NULL{after}
        ORDER BY r.finished_at DESC, r.id DESC LIMIT ROWS"""  # noqa: S608 - parts are constants
    return Source(text, frozenset({"placed", "behind"}), "finished", "r.finished_at DESC, at DESC")


def _by_duration(wanted: RunFilter, parameters: Parameters, anchor: Any) -> Source:
    """Walk the ended runs, longest first, and join those under way, which are few; the short ones have no index."""
    took, so_far = "(r.finished_at - r.started_at)", "(now() - r.started_at)"
    text = f"""SELECT longest.id AS at FROM (
            (SELECT r.id, {took} AS took FROM runs r WHERE {took} >= {LONG}
             {_after(took, "interval", wanted, parameters, anchor)} ORDER BY {took} DESC, r.id DESC LIMIT ROWS)
            UNION ALL
            (SELECT r.id, {so_far} FROM runs r WHERE r.finished_at IS NULL AND {so_far} >= {LONG}
             {_after(so_far, "interval", wanted, parameters, anchor)} ORDER BY r.started_at, r.id DESC LIMIT ROWS)
        ) AS longest ORDER BY longest.took DESC, longest.id DESC LIMIT ROWS"""  # noqa: S608 - parts are constants
    duration = "(coalesce(r.finished_at, now()) - r.started_at)"
    answers, ordering = frozenset({"placed", "behind"}), f"{duration} DESC, at DESC"
    return Source(text, answers, "duration", ordering, whole=False, lacks=f"{duration} < {LONG}")


def _by_workflow(wanted: RunFilter, found: Scope, parameters: Parameters, anchor: Any) -> Source:
    first, after = "true", ""
    if found.workflows is not None:
        first = f"id = ANY({parameters.bind(list(found.workflows), 'int8[]')})"
    if anchor is not None and wanted.after is not None:
        name = parameters.bind(anchor, "text")
        first += f" AND name >= {name}"
        after = f" AND (w.name > {name} OR r.id < {parameters.bind(wanted.after, 'uuid')})"
    text = f"""SELECT r.id AS at, w.name AS workflow_name, r.*
        FROM (SELECT id, name FROM workflows WHERE {first} ORDER BY name) AS w CROSS JOIN LATERAL (
            SELECT * FROM runs r WHERE r.workflow_id = w.id{after}{span(wanted, parameters, "r.id")}
            ORDER BY r.id DESC LIMIT ROWS) AS r
        ORDER BY w.name, r.id DESC LIMIT ROWS"""  # noqa: S608 - parts are constants
    return Source(text, frozenset({"behind", "workflow"}), "workflow", "r.workflow_name, at DESC")
