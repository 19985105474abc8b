"""Words for a shell's completion, from the installation that the settings mean, if it is up; nothing is started."""

from __future__ import annotations

from flowforge.errors import FlowforgeError
from flowforge.settings import load


def words(
    kind: str, typed: str, *, profile: str | None = None, workflow: str | None = None, run: str | None = None
) -> list[tuple[str, str]]:
    """Return words of a kind (runs, workflows, steps, queues, workers) that go on with what is typed."""
    try:
        url = _database(profile)
    except (FlowforgeError, OSError):
        return []
    if url is None:
        return []
    from flowforge.store.completion import candidates

    return candidates(url, kind, typed, workflow=workflow, run=run)


def _database(profile: str | None) -> str | None:
    """Return where Postgres is; None when that is an embedded one that is down."""
    settings = load({"profile": profile}).settings
    if settings.database_url is not None:
        return settings.database_url
    from flowforge import local

    home = local.default_home() if settings.home is None else local.Home(settings.home)
    return local.running(home)
