"""Runs that are undone while everything around them ends: scenario 34."""

from __future__ import annotations

import pytest

from tests.acceptance.kit.person import statuses
from tests.acceptance.kit.sink import reply
from tests.chaos.kit.load import SAGA
from tests.chaos.kit.world import World

#: The effects of a saga in the order of a run: a worker that dies before it settles one has had that many.
ORDER = ("reserve", "charge", "ship", "charge:compensate", "reserve:compensate")
UNDONE = {
    "reserve": "compensated",
    "charge": "compensated",
    "ship": "failed",
    "reserve:compensate": "completed",
    "charge:compensate": "completed",
}


def called(world: World) -> list[str]:
    """Return the effects that the sink has seen, in order."""
    return [path.partition("/")[0] for path in world.effects.paths()]


@pytest.mark.parametrize("undoing", ["charge", "reserve"])
def test_34_a_worker_that_dies_while_undoing_is_followed_by_one_that_goes_on(world: World, undoing: str):
    """Killed between the undoing and its commit: the right one is repeated under its key, the rest follows in order."""
    world.effects.answer("ship", reply(422))
    number = ORDER.index(f"{undoing}:compensate") + 1
    victim = world.worker(crash_at=f"worker.before_settle:{number}")
    run = world.start(world.flow(SAGA, name="saga"))
    assert victim.process.wait(timeout=60) == -9
    assert called(world) == [*ORDER[:number]]
    world.worker()
    (document,) = world.wait(run, code=5)
    assert document["compensation"]["status"] == "completed"
    assert {**UNDONE, **statuses(document)} == UNDONE
    assert called(world) == [*ORDER[:number], *ORDER[number - 1 :]]
    world.verify(crashes=1, repeated=1)


def test_34_workers_that_keep_dying_undo_everything_once(world: World):
    """Forty sagas, and workers that are killed once some have gone on: each is undone in order, each step once."""
    world.effects.answer("ship", reply(422))
    world.some_workers(2, redispatch_after="5s")
    world.start_many(world.flow(SAGA, name="saga"), [{}] * 40)
    # There are no more than these for certain: a quick machine may have done them all before the last death.
    effects = 40 * len(ORDER)
    for _ in range(5):
        world.happened(min(effects, len(world.effects.calls()) + world.random.randint(5, 20)))
        world.random.choice(world.alive()).kill()
        world.worker(ready=False, redispatch_after="5s")
    assert world.ended(world.runs) == {"failed": 40}
    world.verify()
    assert world.undone() == 40


def test_34_what_cannot_be_undone_is_named_and_can_be_tried_again(world: World):
    """The undoing fails for good while workers die: the run ends failed, says what is not undone, and a retry by an
    operator goes on from there."""
    world.effects.answer("ship", reply(422))
    world.effects.answer("charge:compensate", reply(422))
    victim = world.worker(crash_at="worker.before_settle:4")
    run = world.start(world.flow(SAGA, name="saga"))
    assert victim.process.wait(timeout=60) == -9
    world.worker()
    (document,) = world.wait(run, code=5)
    assert document["error"]["code"] == "COMPENSATION_FAILED"
    assert document["error"]["details"]["not_undone"] == ["charge", "reserve"]
    assert statuses(document)["reserve"] == "completed"
    world.effects.answer("charge:compensate", reply(200))
    world.shell.type("retry", str(run))
    (document,) = world.wait(run, code=5)
    assert {**UNDONE, **statuses(document)} == UNDONE
    world.verify(crashes=1)
    incidents = "SELECT count(*)::int FROM incidents WHERE run_id = %s AND kind = 'compensation_failed'"
    assert world.sql.value(incidents, run) == 1


def test_34_a_run_that_is_being_undone_is_not_cancelled(world: World):
    """The wish is refused with the reason, whichever worker is at it; the undoing goes on to its end."""
    world.effects.answer("ship", reply(422))
    hold = world.effects.hold("charge:compensate", after=(reply(200),))
    victim = world.worker()
    run = world.start(world.flow(SAGA, name="saga"))
    world.effects.arrived(f"charge:compensate/{run}")
    world.shell.type("cancel", str(run), code=7).refused("undoing what it did")
    victim.kill()
    world.shell.type("cancel", str(run), code=7).refused("undoing what it did")
    world.worker()
    (document,) = world.wait(run, code=5)
    hold.release()
    assert {**UNDONE, **statuses(document)} == UNDONE
    world.verify(crashes=1, repeated=1)
