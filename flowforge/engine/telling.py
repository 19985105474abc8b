"""Telling: lets people know of incidents, through the targets that the settings name.

An incident is marked before anybody is told: a message that is lost with its worker is lost, but nobody is told twice
by workers that do not know of each other. Who cannot be told is named in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flowforge.engine.loop import Loop
from flowforge.errors import FlowforgeError
from flowforge.model.documents import Incident
from flowforge.steps.settings import StepSettings
from flowforge.store import incidents
from flowforge.store.database import Database

log = logging.getLogger(__name__)

#: Incidents told of in one go: each is a message of its own.
LIMIT = 10


class Telling(Loop):
    """Tells the targets of new incidents."""

    pause = 2.0

    def __init__(self, database: Database, settings: StepSettings, targets: Sequence[str]) -> None:
        super().__init__()
        self._database, self._settings, self._targets = database, settings, targets

    async def run_once(self) -> float | None:
        """Tell of what nobody was told of yet."""
        async with self._database.connection() as connection:
            found = await incidents.take_untold(connection, LIMIT)
        for incident in found:
            await self._tell(incident)
        return 0 if len(found) == LIMIT else None

    async def _tell(self, incident: Incident) -> None:
        # Imported by those who need it: most installations tell nobody.
        from flowforge.steps.notifying import notify

        try:
            told = await notify(self._settings, self._targets, title(incident), body(incident))
        except FlowforgeError as error:
            log.warning("nobody is told of incident %d: %s", incident.id, error)
            return
        for one in told:
            if one.error is not None:
                log.warning("target %s is not told of incident %d: %s", one.target, incident.id, one.error)


def title(incident: Incident) -> str:
    """Return the headline of a message."""
    where = incident.workflow if incident.step is None else f"{incident.workflow}, step {incident.step}"
    return f"FlowForge incident {incident.id}: {incident.kind.replace('_', ' ')} in {where}"


def body(incident: Incident) -> str:
    """Return what the message says, with what to do next."""
    lines = [f"{incident.error.get('code', 'ERROR')}: {incident.error.get('message', '')}"]
    if incident.error.get("hint"):
        lines.append(str(incident.error["hint"]))
    commands = (f"flowforge incident show {incident.id}", f"flowforge show {incident.run_id}")
    return "\n".join([*lines, "", *commands])
