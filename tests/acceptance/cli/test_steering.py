"""`cancel` and `retry`, by hand and in bulk."""

from __future__ import annotations

import pytest

from tests.acceptance.cli.conftest import ENDLESS, FAILING, Flow, Shell
from tests.support.eventually import eventually_sync

pytestmark = pytest.mark.usefixtures("worker")

#: Fails until a file is there.
FLAKY = '{id: a, type: python, config: {function: "flaky:look"}, retry: {max_attempts: 1}}'
LOOK = "from pathlib import Path\ndef look():\n    return Path('there').read_text()\n"


def test_a_cancelled_run_keeps_the_reason(flowforge: Shell, flow: Flow):
    """A second cancel is a conflict that says why."""
    run = flowforge("run", flow(ENDLESS)).out.strip()
    assert flowforge("cancel", run, "--reason", "wrong customer", "--json").document["id"] == run
    flowforge("wait", run, code=6)
    events = flowforge("events", run, "--json").document["events"]
    assert any(event["data"].get("reason") == "wrong customer" for event in events)
    done = flowforge("cancel", run, code=7)
    assert "already cancelled" in done.err
    assert done.err.startswith("error: ")


def test_many_runs_are_cancelled_from_a_pipe(flowforge: Shell, flow: Flow):
    """--dry-run changes nothing; one that refuses does not keep the others from theirs."""
    file = flow(ENDLESS)
    runs = [flowforge("run", file).out.strip() for _ in range(3)]
    listed = "\n".join(runs)
    preview = flowforge("cancel", "-", "--dry-run", stdin=listed)
    assert preview.out.count("would cancel") == 3
    flowforge("cancel", runs[0])
    flowforge("wait", runs[0], code=6)
    document = flowforge("cancel", "-", "--yes", "--json", stdin=listed, code=7).document
    assert [run["id"] for run in document["runs"]] == runs[1:]
    flowforge("wait", *runs, code=6)


def test_a_failed_run_goes_on_when_the_world_is_mended(flowforge: Shell, flow: Flow):
    """retry continues the same run."""
    flowforge.write("flaky.py", LOOK)
    run = flowforge("run", flow(FLAKY), "--wait", code=5).out.strip()
    flowforge.write("there", "now")
    assert flowforge("retry", run, "--reason", "it is there now", "--json").document["id"] == run
    assert flowforge("wait", run, "--json").document["output"] == {"a": "now"}
    assert "only a failed or cancelled run" in flowforge("retry", run, code=7).err


def test_a_retry_from_a_step_that_is_not_there_is_refused(flowforge: Shell, flow: Flow):
    """The hint names the steps that are."""
    run = flowforge("run", flow(FAILING), "--wait", code=5).out.strip()
    assert "it has: a" in flowforge("retry", run, "--from", "b", code=3).err
    assert "would retry" in flowforge("retry", run, "--dry-run").out


def test_several_runs_are_asked_for_only_where_somebody_answers(flowforge: Shell, flow: Flow):
    """With --no-input the answer has to be on the command line."""
    file = flow(FAILING)
    runs = [flowforge("run", file, "--wait", code=5).out.strip() for _ in range(2)]
    assert "--yes" in flowforge("retry", *runs, "--no-input", code=2).err
    flowforge("retry", *runs, "--no-input", "--yes")
    flowforge("wait", *runs, code=5)


def waiting(flowforge: Shell, run: str) -> None:
    """Wait until the first step of a run waits: nothing changes in it then, by itself."""
    eventually_sync(lambda: flowforge("show", run, "--json").document["steps"][0]["status"] == "waiting")


def test_a_filter_is_planned_and_applied_once(flowforge: Shell, flow: Flow, queue: str):
    """What a plan would do is said; applied twice, it does nothing twice; a run that changed is left alone."""
    file = flow(ENDLESS)
    runs = [flowforge("run", file, "--label", "batch=7").out.strip() for _ in range(3)]
    for run in runs:
        waiting(flowforge, run)
    chosen = ("--workflow", queue, "--label", "batch=7")
    assert "pause 3 of 3 runs" in flowforge("pause", *chosen, "--dry-run").out
    assert "--yes" in flowforge("cancel", *chosen, code=2).err
    flowforge("cancel", *chosen, "--plan", "stop.json", "--reason", "wrong file")
    flowforge("pause", runs[0])
    counts = flowforge("apply", "stop.json", "--yes", "--json", code=7).document["counts"]
    assert counts == {"done": 2, "earlier": 0, "refused": 0, "changed": 1}
    flowforge("wait", *runs[1:], code=6)
    assert flowforge("apply", "stop.json", "--yes", "--json", code=7).document["counts"]["earlier"] == 2
    assert (
        flowforge("cancel", "--query", f"flow:{queue} state:paused", "--yes", "--json").document["counts"]["done"] == 1
    )
    assert "did you mean 'state'" in flowforge("cancel", "-q", "stat:paused", code=2).err
