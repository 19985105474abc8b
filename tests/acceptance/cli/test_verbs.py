"""Every verb of an operator: repeated it changes nothing, where it makes no sense it is refused with exit code 7."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.cli.conftest import ENDLESS, FAILING, QUICK, Flow, Shell
from tests.support.eventually import eventually_sync

pytestmark = pytest.mark.usefixtures("worker")

TWO = """
{id: hold, type: wait_signal}
{id: end, type: transform, depends_on: [hold], config: {expression: "1"}}
"""


def told(flowforge: Shell, run: str, kind: str) -> list[tuple[Any, Any]]:
    """Return actor and reason of each event of a type."""
    events = flowforge("events", run, "--json").document["events"]
    return [(event["data"].get("actor"), event["data"].get("reason")) for event in events if event["type"] == kind]


def test_a_repeated_verb_changes_nothing_and_is_told_once(flowforge: Shell, flow: Flow):
    """Hold, skip, go on: the second time says the same, with exit code 0."""
    ada = flowforge.within(FLOWFORGE_ACTOR="ada")
    run = ada("run", flow(TWO)).out.strip()
    for verb, status in ((("pause",), "paused"), (("skip", "end"), "paused"), (("resume",), "running")):
        name, *step = verb
        for _ in range(2):
            assert ada(name, run, *step, "--reason", f"to {name}", "--json").document["status"] == status
    kinds = {"pause": "workflow.paused", "skip": "step.skipped", "resume": "workflow.resumed"}
    for name, kind in kinds.items():
        assert told(flowforge, run, kind) == [("ada", f"to {name}")]
    ada("signal", run, "hold")
    assert ada("wait", run, "--json").document["status"] == "completed"


@pytest.mark.parametrize(
    ("steps", "code", "state", "verbs"),
    [
        (QUICK, 0, "completed", ["cancel", "cancel --force", "pause", "resume", "retry", "skip a", "signal x"]),
        (FAILING, 5, "failed", ["cancel", "cancel --force", "pause", "resume", "approve a", "signal x"]),
    ],
)
def test_what_the_state_forbids_is_refused(
    flowforge: Shell, flow: Flow, steps: str, code: int, state: str, verbs: list[str]
):
    """Exit code 7 and the state, on stderr; stdout stays empty, and nothing is written."""
    run = flowforge("run", flow(steps), "--wait", code=code).out.strip()
    eventually_sync(lambda: flowforge("receipt", run, "--json", code=None).code == 0)
    before = flowforge("events", run, "--json").document["events"]
    for verb in verbs:
        name, *words = verb.split()
        refused = flowforge(name, run, *words, "--json", code=7)
        assert state in refused.err, verb
        assert refused.out == "", verb
    assert flowforge("events", run, "--json").document["events"] == before


def test_a_run_is_ended_by_force(flowforge: Shell, flow: Flow):
    """A step that does not stop is not waited for."""
    flowforge.write("deaf.py", "import signal, time\ndef sleep():\n    signal.signal(15, 1)\n    time.sleep(60)\n")
    step = '{id: a, type: python, config: {function: "deaf:sleep"}}'
    run = flowforge("run", flow(step)).out.strip()
    eventually_sync(lambda: flowforge("show", run, "--json").document["steps"][0]["status"] == "running")
    ended = flowforge("cancel", run, "--force", "--reason", "its host is gone", "--json").document
    assert ended["status"] == "cancelled"
    assert told(flowforge, run, "workflow.cancelling")[0][1] == "its host is gone"


def test_a_failed_run_goes_on_with_the_version_that_mends_it(flowforge: Shell, flow: Flow):
    """A version that does not exist, and a step that it does not have, change nothing."""
    run = flowforge("run", flow(FAILING), "--wait", code=5).out.strip()
    flowforge("workflow", "publish", flow(QUICK))
    assert "no version 9" in flowforge("retry", run, "--to-version", "9", code=3).err
    assert "no step 'b'" in flowforge("retry", run, "--to-version", "2", "--from", "b", code=3).err
    assert flowforge("show", run, "--json").document["version"] == 1
    flowforge("retry", run, "--to-version", "2", "--reason", "the fix is published")
    done = flowforge("wait", run, "--json").document
    assert (done["version"], done["output"]) == (2, {"a": {"result": 2}})
    assert told(flowforge, run, "workflow.retried")[0][1] == "the fix is published"


def test_a_retry_with_a_version_is_refused_while_the_run_goes_on(flowforge: Shell, flow: Flow):
    """It stays on its version."""
    run = flowforge("run", flow(ENDLESS)).out.strip()
    flowforge("workflow", "publish", flow(QUICK))
    assert "only a failed or cancelled run" in flowforge("retry", run, "--to-version", "2", code=7).err
    assert flowforge("show", run, "--json").document["version"] == 1
    flowforge("cancel", run)
