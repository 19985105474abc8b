"""Workers that die, freeze, or are starved: scenarios 1 to 4, 28 and 39."""

from __future__ import annotations

import pytest

from tests.acceptance.kit.person import steps, types
from tests.acceptance.kit.sink import reply
from tests.chaos.kit.load import LINEAR
from tests.chaos.kit.world import LEASE, World

#: Between the end of a lease and the next attempt: sweep, dispatch, read, claim, on a busy machine.
TAKEOVER = 2.0


@pytest.mark.quick
def test_01_a_worker_killed_in_the_middle_of_an_http_step_is_taken_over(world: World):
    """SIGKILL while the sink holds the reply: two calls, one key, one result, the second attempt under token 2."""
    step = world.random.choice("abc")
    hold = world.effects.hold(f"{step}-path", after=(reply(200, {"from": "second"}),))
    flow = world.flow(LINEAR.replace(f"@sink/{step}/{{{{ run.id }}}}", f"@sink/{step}-path"))
    victim, _ = world.some_workers(2)
    run = world.start(flow)
    world.effects.arrived(f"{step}-path")
    victim = world.holder(run, step)
    victim.kill()
    died_at = world.sql.value("SELECT extract(epoch FROM clock_timestamp())::float8")
    (document,) = world.wait(run)
    hold.release()
    one = steps(document)[step]
    assert (one["attempts"], one["crashes"], one["output"]["body"]) == (2, 1, {"from": "second"})
    first, second = world.effects.calls(f"{step}-path")
    assert first.key == second.key == f"{run}:{step}"
    assert (first.token, second.token) == (1, 2)
    history = types(world.events(run))
    assert history.count(f"step.started {step}") == 2
    assert history.count(f"step.completed {step}") == 1
    world.verify(crashes=1, repeated=1)
    print(f"taken over {second.at - died_at:.2f} s after the death, the lease is {LEASE:g} s")
