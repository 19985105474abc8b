"""Step types that nobody here can run: those of packages wait, and say why."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import Workers
from tests.acceptance.kit.person import Operator, steps
from tests.support.eventually import eventually_sync

PACKAGE = """
from flowforge.model.outcome import Completed

class Greet:
    def execute(self, assignment):
        return Completed({"greeting": "hello " + assignment.step.config.render(assignment.context)["name"]})

def make(settings):
    return Greet()
"""


def installed(folder: Path) -> Path:
    """Make a folder that looks like an installed package with a step type."""
    package = folder / "packages"
    info = package / "greetings-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "greetings.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flowforge.steps]\ngreet = greetings:make\n")
    return package


def test_a_step_of_a_type_that_is_not_installed_waits_until_a_worker_has_it(operator: Operator, workers: Workers):
    """`show` says what it waits for; no attempt is counted; the first worker with the package runs it."""
    flow = operator.flow("""
        queue: @queue
        steps:
          - {id: before, type: transform, config: {expression: "input.name"}}
          - {id: greet, type: greet, depends_on: before, config: {name: "{{ steps.before.output.result }}"}}
    """)
    lacking = workers()
    run = operator.start(flow, "-i", "name=Ada")
    operator.step_becomes(run, "greet", "waiting")
    shown = operator.show(run)
    assert shown["status"] == "running"
    error = steps(shown)["greet"]["error"]
    assert error["code"] == "STEP_TYPE_NOT_INSTALLED"
    assert "greet" in error["message"]
    assert "greet" in operator.shell.type("show", str(run)).out
    lacking.stop()

    having = workers(PYTHONPATH=str(installed(operator.folder)))

    (document,) = operator.wait(run)
    assert document["output"] == {"greet": {"greeting": "hello Ada"}}
    assert (steps(document)["greet"]["attempts"], steps(document)["greet"]["crashes"]) == (1, 0)
    kinds = operator.sql.value("SELECT step_types FROM workers WHERE pid = %s", having.pid)
    eventually_sync(lambda: "greet" in kinds)


def test_a_run_that_waits_for_a_step_type_can_be_cancelled(operator: Operator, workers: Workers):
    """Nothing runs, so the run ends at once."""
    workers()
    run = operator.start(operator.flow("queue: @queue\nsteps: [{id: x, type: teleport, config: {to: mars}}]\n"))
    operator.step_becomes(run, "x", "waiting")
    operator.shell.type("cancel", str(run))
    operator.wait(run, code=6)
    operator.at_rest()
