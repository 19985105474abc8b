"""Who may decide what a step asks: the people and groups that it names."""

from __future__ import annotations

from collections.abc import Iterable

from flowforge.errors import Conflict
from flowforge.model.documents import Run
from flowforge.settings import Settings


def check(settings: Settings, run: Run, step: str, actor: str) -> None:
    """Raise Conflict if *actor* is none of those who may decide about a step that asks."""
    found = next((one for one in run.steps or () if one.id == step), None)
    asked = None if found is None or found.waits_for is None else found.waits_for.get("approval")
    approvers = asked.get("approvers") if asked else None
    if not approvers or allowed(settings, approvers, actor):
        return
    names = ", ".join(approvers)
    raise Conflict(
        f"{actor} may not decide about step '{step}': it asks {names}",
        hint="groups are a table [groups] of flowforge.toml; who you are: FLOWFORGE_ACTOR",
    )


def allowed(settings: Settings, approvers: Iterable[str], actor: str) -> bool:
    """Say whether an actor is one of the approvers, by name, by name@host, or as a member of a group."""
    names = {actor, actor.partition("@")[0]}
    return any(approver in names or names & set(settings.groups.get(approver, ())) for approver in approvers)
