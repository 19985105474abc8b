"""`ps`, `show`, `events`, `logs`, `watch`, `wait`: the same runs from every side."""

from __future__ import annotations

import pytest

from tests.acceptance.cli.conftest import ENDLESS, FAILING, QUICK, Flow, Shell
from tests.support.eventually import eventually_sync

EVENTS = [
    "workflow.created",
    "workflow.started",
    "step.queued",
    "step.started",
    "step.completed",
    "workflow.completed",
    "workflow.receipt.generated",
]


@pytest.fixture
def done_run(flowforge: Shell, flow: Flow) -> str:
    """The id of a run that completed, and has its receipt."""
    run = flowforge("run", flow(QUICK), "--wait", "--label", "kind=done").out.strip()
    flowforge("receipt", run)
    return run


@pytest.fixture
def failed_run(flowforge: Shell, flow: Flow) -> str:
    """The id of a run that failed."""
    return flowforge("run", flow(FAILING), "--wait", code=5).out.strip()


def test_a_run_has_many_names(flowforge: Shell, done_run: str):
    """In full, without dashes, its end, its beginning, @last."""
    for name in (done_run, done_run.upper(), done_run.replace("-", ""), done_run[-8:], done_run[-4:], "@last"):
        assert flowforge("show", name, "--json").document["id"] == done_run
    flowforge("show", "abc", code=2)
    flowforge("show", "not-a-run", code=2)
    flowforge("show", "ffffffff-ffff-7fff-8fff-ffffffffffff", code=3)


def test_a_beginning_that_many_runs_share_is_ambiguous(flowforge: Shell, done_run: str, failed_run: str):
    """The error names them."""
    done = flowforge("show", done_run[:6], code=2)
    assert "means several runs" in done.err
    assert failed_run in done.err


def test_the_list_is_filtered(flowforge: Shell, queue: str, done_run: str, failed_run: str):
    """By workflow, status, label and time; a list is a document, an empty one too."""

    def ids(*words: str) -> list[str]:
        document = flowforge("ps", "--workflow", queue, "--json", *words).document
        assert document["schema"] == "flowforge/runs/v1"
        return [run["id"] for run in document["runs"]]

    assert ids() == [failed_run, done_run]
    assert ids("--status", "failed") == [failed_run]
    assert ids("--status", "active") == []
    assert ids("--status", "failed,done", "--limit", "1") == [failed_run]
    assert ids("--label", "kind=done") == [done_run]
    assert ids("--since", "1h") == [failed_run, done_run]
    assert ids("--until", "1h") == []
    assert (
        flowforge("ps", "--workflow", "nothing-here", "--json").out == '{"schema": "flowforge/runs/v1", "runs": []}\n'
    )


def test_the_list_for_people(flowforge: Shell, queue: str, done_run: str, failed_run: str):
    """One line a run; the id shown is one that commands take."""
    lines = flowforge("ps", "--workflow", queue).out.splitlines()
    assert lines[0].split() == ["STATE", "RUN", "WORKFLOW", "STEPS", "AGE", "TOOK", "NOTE"]
    assert lines[1].startswith(f"✗ FAILED  {failed_run[-8:]}  {queue}@2  0/1")
    assert lines[2].startswith(f"✓ DONE    {done_run[-8:]}  {queue}@1  1/1")
    assert "no run matches" in flowforge("ps", "--workflow", "nothing-here").err
    assert flowforge.within(LC_ALL="C")("ps", "--workflow", queue).out.splitlines()[1].startswith("x FAILED")


def test_a_failed_run_shows_why(flowforge: Shell, queue: str, failed_run: str):
    """State, error, steps, and what to do."""
    done = flowforge("show", "@last-failed")
    assert done.out.startswith(f"✗ FAILED  {queue}@1  {failed_run}\n")
    assert "'input' has no 'missing'" in done.out
    assert f"flowforge retry {failed_run[-8:]}" in done.err


def test_the_history_as_data_and_as_lines(flowforge: Shell, done_run: str):
    """Numbered without gaps; --follow ends with the run."""
    document = flowforge("events", done_run, "--json").document
    assert (document["schema"], document["run"]) == ("flowforge/events/v1", done_run)
    assert [event["type"] for event in document["events"]][: len(EVENTS)] == EVENTS
    assert [event["seq"] for event in document["events"]][: len(EVENTS)] == list(range(1, len(EVENTS) + 1))
    followed = flowforge("events", done_run, "--follow", "--json").lines
    assert followed[: len(EVENTS)] == document["events"][: len(EVENTS)]
    assert all(event["schema"] == "flowforge/event/v1" for event in followed)
    assert [line.split()[2] for line in flowforge("events", done_run).out.splitlines()][: len(EVENTS)] == EVENTS


def test_watching_from_a_pipe_is_one_line_an_event(flowforge: Shell, done_run: str, failed_run: str):
    """It ends with the run, and with its outcome."""
    done = flowforge("watch", done_run)
    assert [line.split()[2] for line in done.out.splitlines()][: len(EVENTS)] == EVENTS
    assert "✓ DONE" in done.err
    flowforge("watch", failed_run, "--plain", code=5)
    *events, run = flowforge("watch", done_run, "--json").lines
    assert [event["type"] for event in events][: len(EVENTS)] == EVENTS
    assert run["schema"] == "flowforge/run/v1"


def test_waiting_gives_the_outcome(flowforge: Shell, done_run: str, failed_run: str):
    """Of one or of many, named or from a pipe."""
    flowforge("wait", done_run)
    flowforge("wait", done_run, failed_run, code=5)
    flowforge("wait", failed_run, "--for", "failed")
    flowforge("wait", failed_run, "--for", "completed", code=5)
    flowforge("wait", done_run, "--for", "cancelled", code=7)
    both = flowforge("wait", "-", "--json", stdin=f"{done_run}\n{failed_run}\n", code=5).document
    assert [run["id"] for run in both["runs"]] == [done_run, failed_run]
    assert flowforge("wait", done_run, "--json").document["status"] == "completed"


@pytest.mark.usefixtures("worker")
def test_waiting_for_what_does_not_come(flowforge: Shell, flow: Flow):
    """A status on the way can be waited for; a timeout is exit code 8."""
    run = flowforge("run", flow(ENDLESS)).out.strip()
    flowforge("wait", run, "--for", "running")
    done = flowforge("wait", run, "--timeout", "100ms", code=8)
    assert f"run {run[-8:]} goes on" in done.err
    flowforge("watch", run, "--timeout", "100ms", code=8)
    eventually_sync(lambda: "until" in flowforge("show", run).out)
    flowforge("cancel", run)
    flowforge("wait", run, code=6)


def test_what_python_steps_write_is_kept(flowforge: Shell, flow: Flow):
    """By step and attempt; hostile output is harmless in a terminal and complete in --json."""
    flowforge.write("talking.py", 'def talk():\n    print("hello \\x1b]0;owned\\x07")\n    return 1\n')
    run = flowforge("run", flow('{id: a, type: python, config: {function: "talking:talk"}}'), "--wait").out.strip()
    assert flowforge("logs", run).out == "hello ]0;owned\n"
    (log,) = flowforge("logs", run, "a", "--json").document["logs"]
    assert (log["step"], log["attempt"], log["text"].strip()) == ("a", 1, "hello \x1b]0;owned\x07")
    assert "has no step 'b'" in flowforge("logs", run, "b", code=3).err
