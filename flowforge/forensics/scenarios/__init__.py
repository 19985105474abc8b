"""Incidents to practise on: played for real on a live installation, by a real worker, with a planted cause."""

from __future__ import annotations

from flowforge.client import AsyncClient, Client
from flowforge.errors import UsageError
from flowforge.forensics.scenarios.plays import PLAYS, Played
from flowforge.forensics.scenarios.stage import Scenario, stage

#: Every scenario's name, which is also the cause that has to be found.
SCENARIOS = tuple(PLAYS)

__all__ = ["SCENARIOS", "Scenario", "scenario"]


def scenario(name: str, *, client: Client | None = None, size: int | None = None) -> Scenario:
    """Play an incident on an installation, the configured one unless a client is given; takes a few seconds.

    It publishes a workflow `scenario-…` and starts runs of it, with the label `scenario`, on a queue of its own. *size*
    is how many orders there are.
    """
    if name not in PLAYS:
        raise UsageError(f"there is no scenario '{name}'", hint=f"there are: {', '.join(PLAYS)}")
    _, usual = PLAYS[name]
    chosen = client or Client()
    try:
        return chosen.do(_played(chosen.core, name, size or usual))
    finally:
        if client is None:
            chosen.close()


async def _played(client: AsyncClient, name: str, size: int) -> Scenario:
    play, _ = PLAYS[name]
    async with stage(client, name) as place:
        played = await play(place, size)
        return await _scenario(place.client, name, played)


async def _scenario(client: AsyncClient, name: str, played: Played) -> Scenario:
    found = [await client.get(run) for run in played.runs]
    took = {run.id: (run.finished_at or run.created_at) - run.created_at for run in found}
    well = [run for run in found if run.status.value == "completed"]
    badly = [run for run in found if run not in well] or well
    good = min(well, key=lambda run: took[run.id], default=None)
    bad = max(badly, key=lambda run: took[run.id], default=None)
    return Scenario(
        name=name,
        workflow=played.workflow,
        runs=[str(run.id) for run in found],
        since=min(run.created_at for run in found),
        cause=name,
        effects=played.service.effects(),
        good=None if good is None else str(good.id),
        bad=None if bad is None else str(bad.id),
    )
