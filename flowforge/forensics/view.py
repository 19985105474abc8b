"""One run as an object that shows itself: a card in a notebook, plain text elsewhere."""

from __future__ import annotations

from typing import Any

import pandas as pd

from flowforge.forensics import attempts as rows
from flowforge.forensics import bars, frames, tries
from flowforge.forensics.frames import text
from flowforge.forensics.phases import critical_steps, phases
from flowforge.forensics.source import Case, Reference, Source, current
from flowforge.model import card

SUMMARY = {"what": text("what is said"), "value": text("what it is")}


class RunView:
    """A run with its history."""

    def __init__(self, case: Case, source: Source) -> None:
        self.case, self.source = case, source

    @property
    def id(self) -> str:
        """Its id."""
        return self.case.id

    @property
    def workflow(self) -> str:
        """Name of its workflow."""
        return str(self.case.run["workflow"])

    @property
    def status(self) -> str:
        """Where it stands."""
        return str(self.case.run["status"])

    @property
    def error(self) -> dict[str, Any] | None:
        """What it failed with."""
        found: dict[str, Any] | None = self.case.run["error"]
        return found

    @property
    def wall_s(self) -> float:
        """Seconds from accepted to ended, or to now."""
        end = self.case.run["finished_at"] or self.case.seen_at
        return (tries.moment(end) - tries.moment(self.case.run["created_at"])).total_seconds()

    def steps(self) -> pd.DataFrame:
        """Return its steps."""
        return rows.steps(self.id, source=self.source)

    def events(self) -> pd.DataFrame:
        """Return its history."""
        return rows.events(self.id, source=self.source)

    def attempts(self) -> pd.DataFrame:
        """Return its attempts."""
        return rows.attempts(self.id, source=self.source)

    def phases(self) -> pd.DataFrame:
        """Return where the time of each step went."""
        return phases(self.id, source=self.source)

    def summary(self) -> pd.DataFrame:
        """Return what there is to say about it in a few lines; columns: what, value."""
        run = self.case.run
        steps = run.get("steps") or []
        begun = sum(step["attempts"] for step in steps)
        error = run["error"] or {}
        lines = {
            "run": run["id"],
            "workflow": f"{run['workflow']}@{run['version']}",
            "status": run["status"],
            "created": run["created_at"],
            "wall time": card.span(self.wall_s),
            "waited at its gate": self._gate_wait(),
            "steps": f"{sum(step['status'] == 'completed' for step in steps)} of {len(steps)} completed",
            "attempts": f"{begun}, {sum(step['crashes'] for step in steps)} lost with their worker",
            "error": f"{error['code']} at {error.get('step')}: {error['message']}" if error else None,
            "labels": ", ".join(f"{key}={value}" for key, value in (run["labels"] or {}).items()) or None,
            "replay of": run.get("replay_of"),
        }
        return frames.frame([(what, value) for what, value in lines.items() if value is not None], SUMMARY)

    def _gate_wait(self) -> str | None:
        begun = self.case.run["started_at"]
        if begun is None:
            return None
        return card.span((tries.moment(begun) - tries.moment(self.case.run["created_at"])).total_seconds())

    def __repr__(self) -> str:
        return card.text(self.case.run)

    def _repr_html_(self) -> str:
        return card.html(self.case.run, bars.bars(self.case), critical_steps(self.case))


def run(reference: Reference, *, source: Source | None = None) -> RunView:
    """Return a run: by its id, 4 or more of its digits, `@last` or `@last-failed`."""
    chosen = source or current()
    return RunView(chosen.case(reference), chosen)
