"""Every key in the table of keys leads to its action, on every screen that takes it; and the table has no gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from textual.binding import Binding

from flowforge_tui import keys
from flowforge_tui.keys import Key
from tests.support.dashboard import opened
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import incident, run_id, several

EVERYWHERE = [key for key in keys.SHELL if key.id not in ("interrupt", "quit")]
VIEWS: dict[str, tuple[str, Sequence[Key]]] = {
    "runs": ("1", [*keys.LIST, *keys.RUNS, *keys.STEER]),
    "queues": ("2", [*keys.LIST, *keys.WORKERS, *keys.QUEUES]),
    "schedules": ("4", []),
    "incidents": ("5", [*keys.LIST, *keys.INCIDENTS]),
    "imported": ("6", [*keys.LIST, *keys.IMPORTED]),
}


def presses(key: Key) -> list[str]:
    return key.keys.split(",")


def lead(app: Any, table: Sequence[Key]) -> None:
    """Look up every key of a table, and those of every screen that it does not bind anew, where the focus is."""
    taken = {press for key in table for press in presses(key)}
    wanted = [(press, key) for key in table for press in presses(key)]
    wanted += [(press, key) for key in EVERYWHERE for press in presses(key) if press not in taken]
    bound = app.screen.active_bindings
    for press, key in wanted:
        assert press in bound, f"{press} is not bound"
        assert bound[press].binding.action == key.action, f"{press} does not {key.label}"


def _of_run(*groups: Sequence[Key]) -> list[Key]:
    """Return the keys of a pane, and those of the screen of one run that it does not bind anew."""
    own = [key for group in groups for key in group]
    taken = {press for key in own for press in presses(key)}
    left = [key._replace(keys=",".join(press for press in presses(key) if press not in taken)) for key in keys.RUN]
    return [*own, *(key for key in left if key.keys)]


@pytest.mark.parametrize("view", VIEWS)
async def test_every_key_of_a_list_leads_to_its_action(view: str) -> None:
    client = FakeClient(several())
    client.open_incidents = [incident()]
    digit, table = VIEWS[view]
    async with opened(client) as (app, pilot):
        await pilot.press(digit)
        await eventually(lambda: view == app.screen.VIEW)
        await pilot.pause()
        lead(app, table)


async def test_every_key_of_a_run_leads_to_its_action() -> None:
    async with opened(FakeClient(several())) as (app, pilot):
        app.open_run(run_id(30))
        await eventually(lambda: getattr(app.screen, "present", None) is not None)
        await pilot.pause()
        lead(app, [*_of_run(keys.LIST, keys.TIMELINE), *keys.STEER])
        app.screen.inspect()
        await pilot.pause()
        lead(app, _of_run(keys.MOVE, keys.DOCUMENT))
        app.screen.tail.lines.focus()
        await pilot.pause()
        lead(app, _of_run(keys.MOVE, keys.TAIL))


def test_ids_mean_one_thing_on_one_screen() -> None:
    for group in keys.GROUPS:
        assert len({key.id for key in group}) == len(group)


def test_every_action_of_the_table_exists() -> None:
    from flowforge_tui.app import TopApp
    from flowforge_tui.imported.screen import ImportedScreen
    from flowforge_tui.incidents.screen import IncidentsScreen
    from flowforge_tui.queues.screen import QueuesScreen
    from flowforge_tui.run.diff import DiffScreen
    from flowforge_tui.run.document import Document
    from flowforge_tui.run.screen import RunScreen
    from flowforge_tui.run.tail import Tail
    from flowforge_tui.run.timeline import Timeline
    from flowforge_tui.runs.screen import RunsScreen
    from flowforge_tui.schedules.screen import SchedulesScreen

    screens = (RunsScreen, QueuesScreen, IncidentsScreen, ImportedScreen, SchedulesScreen, RunScreen, DiffScreen)
    for owner in (*screens, Timeline, Document, Tail, TopApp):
        for binding in owner.BINDINGS:
            assert isinstance(binding, Binding)
            space, _, name = binding.action.partition("(")[0].rpartition(".")
            owners = {"app": (TopApp,), "screen": screens}.get(space, (owner,))
            assert all(hasattr(one, f"action_{name}") for one in owners), f"{owner.__name__}: {binding.action}"
