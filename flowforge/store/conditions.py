"""What a filter asks of a run's row, as SQL: one condition for each part, by the name of the part.

Values are always bound, with their types, so that nothing a person types is ever part of a statement.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from flowforge.model.documents import RunFilter
from flowforge.model.status import FINAL_RUN, RunStatus

#: Ids are made from the clock of whoever starts a run, times of creation from the server's: clocks may differ by this.
SLACK = timedelta(minutes=10)

#: How a step stands that has no row: it was never touched.
_STEP_STANDS = """
(SELECT coalesce(s.status::text, CASE WHEN r.finished_at IS NULL THEN 'pending' ELSE 'cancelled' END)
 FROM workflow_steps ws LEFT JOIN steps s ON s.run_id = r.id AND s.step_no = ws.step_no
 WHERE ws.version_id = r.version_id AND ws.step_id = {step}) = {state}"""

#: What words are looked for in.
_WORDS = """lower((SELECT w.name FROM workflows w WHERE w.id = r.workflow_id) || ' ' || r.id::text || ' ' ||
    right(replace(r.id::text, '-', ''), 12) || ' ' || coalesce(r.labels::text, '') || ' ' ||
    coalesce(r.error ->> 'code', '') || ' ' || coalesce(r.error ->> 'message', ''))"""


class Parameters(dict[str, Any]):
    """The values of a statement."""

    def bind(self, value: Any, kind: str) -> str:
        """Keep a value; return its placeholder, with its type."""
        name = f"p{len(self)}"
        self[name] = value
        return f"%({name})b::{kind}"


def conditions(wanted: RunFilter, parameters: Parameters) -> dict[str, str]:
    """Return the conditions of a filter on a run `r`, but for those on its workflow and version."""
    bind = parameters.bind
    found: dict[str, str] = {}
    if wanted.statuses:
        found["status"] = f"r.status = ANY({bind([s.value for s in wanted.statuses], 'text[]')}::run_status[])"
    if wanted.trigger is not None:
        found["trigger"] = f"r.trigger = {bind(wanted.trigger, 'text')}"
    if wanted.error is not None:
        found["error"] = f"(r.error IS NOT NULL AND r.error ->> 'code' = {bind(wanted.error, 'text')})"
    if isinstance(wanted.replay_of, UUID):
        found["replay"] = f"r.replay_of = {bind(wanted.replay_of, 'uuid')}"
    if isinstance(wanted.parent, UUID):
        found["parent"] = f"r.parent_run_id = {bind(wanted.parent, 'uuid')}"
    for name, sign, moment in (("since", ">=", wanted.since), ("until", "<", wanted.until)):
        if moment is not None:
            found[name] = f"r.created_at {sign} {bind(moment, 'timestamptz')}"
    return {**found, **_documents(wanted, parameters), **_steps(wanted, parameters), **_words(wanted, parameters)}


def _documents(wanted: RunFilter, parameters: Parameters) -> dict[str, str]:
    bind = parameters.bind
    found = {
        f"label.{name}": f"r.labels ->> {bind(name, 'text')} = {bind(value, 'text')}" for name, value in wanted.labels
    }
    for name, value in wanted.fields:
        first, *path = name.split(".")
        found[name] = (
            f"r.{'input' if first == 'input' else 'output'} #>> {bind(path, 'text[]')} = {bind(value, 'text')}"
        )
    return found


def _steps(wanted: RunFilter, parameters: Parameters) -> dict[str, str]:
    bind = parameters.bind
    return {
        f"step {no}": _STEP_STANDS.format(step=bind(step, "text"), state=bind(state.value, "text"))
        for no, (step, state) in enumerate(wanted.steps)
    }


def _words(wanted: RunFilter, parameters: Parameters) -> dict[str, str]:
    found = {}
    for no, word in enumerate(wanted.words):
        found[f"word {no}"] = f"strpos({_WORDS}, {parameters.bind(word.lower(), 'text')}) > 0"
    for no, word in enumerate(wanted.without):
        found[f"without {no}"] = f"strpos({_WORDS}, {parameters.bind(word.lower(), 'text')}) = 0"
    return found


def span(wanted: RunFilter, parameters: Parameters, column: str) -> str:
    """Return a condition on ids that holds for all runs of the filter's time, and behind the page before."""
    parts = []
    if wanted.since is not None:
        parts.append(
            f"{column} >= {parameters.bind(_first_id(wanted.since.timestamp() - SLACK.total_seconds()), 'uuid')}"
        )
    if wanted.until is not None:
        parts.append(
            f"{column} < {parameters.bind(_first_id(wanted.until.timestamp() + SLACK.total_seconds()), 'uuid')}"
        )
    if wanted.after is not None and wanted.sort == "created":
        parts.append(f"{column} < {parameters.bind(wanted.after, 'uuid')}")
    return "".join(f" AND {part}" for part in parts)


def _first_id(seconds: float) -> UUID:
    """Return the first id that could be made at a time."""
    return UUID(int=max(0, min(int(seconds * 1000), (1 << 48) - 1)) << 80)


def only_active(wanted: RunFilter) -> bool:
    """Whether only runs that have not ended are asked for."""
    return bool(wanted.statuses) and not any(status.final for status in wanted.statuses)


def only_unsuccessful(wanted: RunFilter) -> bool:
    """Whether only runs that failed or were cancelled are asked for."""
    return bool(wanted.statuses) and set(wanted.statuses) <= FINAL_RUN - {RunStatus.COMPLETED}
