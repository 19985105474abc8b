"""Whatever the graph and whatever happens, in any order: the invariants hold, and the run can always end."""

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowforge.model.status import RunStatus
from tests import factories
from tests.unit.decisions import invariants
from tests.unit.decisions.bench import Bench
from tests.unit.decisions.worlds import World, definitions

#: The same examples every time: a failure here is a change of ours, never bad luck.
steadily = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    phases=[Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@steadily
@given(definitions())
def test_a_run_without_faults_ends(definition):
    bench = Bench(factories.plan(**definition))
    invariants.check(bench)
    bench.drive()
    invariants.check(bench)
    assert bench.run.status is RunStatus.COMPLETED


@steadily
@given(st.data())
def test_the_invariants_hold_and_no_run_is_stuck(data):
    """Faults for a while, then none: the run ends, and ends again after an operator's retry."""
    world = World(factories.plan(**data.draw(definitions())), data.draw)
    invariants.check(world.bench)
    for _ in range(data.draw(st.integers(0, 25))):
        world.move()
        invariants.check(world.bench)
    world.bench.drive()
    invariants.check(world.bench)
    if world.bench.run.status is not RunStatus.COMPLETED:
        world.bench.retry()
        invariants.check(world.bench)
        world.bench.drive()
        invariants.check(world.bench)
