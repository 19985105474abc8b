"""What of a plan is done, in a file beside it: who carries a plan out again does not ask those runs again.

The history of each run says the same, so losing the file loses nothing but time. A line is on the disk before the next
batch begins; a torn one at the end is not read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from flowforge.model.bulk import Outcome


class Journal:
    """The journal of one plan."""

    def __init__(self, plan: Path, plan_id: UUID) -> None:
        self.path = plan.with_name(plan.name + ".journal")
        self._plan = str(plan_id)

    def done(self) -> frozenset[UUID]:
        """Return the runs that are done."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return frozenset()
        found = set()
        for line in lines:
            try:
                entry = json.loads(line)
                if entry["plan"] == self._plan and entry["result"] in ("done", "earlier"):
                    found.add(UUID(entry["run"]))
            except (ValueError, KeyError, TypeError):
                continue
        return frozenset(found)

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Remember what became of some runs."""
        lines = [json.dumps({"plan": self._plan, **one.document()}, ensure_ascii=False) for one in outcomes]
        with self.path.open("a", encoding="utf-8") as file:
            # Behind a line that was torn, the next one would be lost as well.
            file.write("".join(f"\n{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
