"""The verbs of operators as they are typed: hold, decide, signal, skip, undo, replay, incidents, receipts."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.cli.conftest import Flow, Shell
from tests.support.eventually import eventually_sync

pytestmark = pytest.mark.usefixtures("worker")

ASK = '{id: ask, type: approval, config: {prompt: "Release {{ input.n }}?", approvers: [finance]}}'
PAID = "{id: paid, type: wait_signal}"
UNDO = '{type: transform, config: {expression: "1 / input.undo"}, retry: {max_attempts: 1}}'
SAGA = f'{{id: pay, type: transform, config: {{expression: "input.n"}}, compensate: {UNDO}}}'
BAD = '{id: ship, type: transform, depends_on: [pay], config: {expression: "1 / 0"}, retry: {max_attempts: 1}}'


def test_a_run_is_decided_by_those_it_asks(flowforge: Shell, flow: Flow):
    """Somebody else is refused with exit code 7 and told who is asked."""
    run = flowforge("run", flow(ASK), "-i", "n=3").out.strip()
    ada = flowforge.within(FLOWFORGE_ACTOR="ada", FLOWFORGE_GROUPS="finance=ada,bob")
    eve = flowforge.within(FLOWFORGE_ACTOR="eve", FLOWFORGE_GROUPS="finance=ada,bob")
    eventually_sync(lambda: "asks finance: Release 3?" in ada("show", run).out)
    assert "may not decide" in eve("approve", run, "ask", code=7).err
    assert ada("approve", run, "ask", "--comment", "fine", "--json").document["id"] == run
    done = flowforge("wait", run, "--json").document
    assert done["output"]["ask"]["decisions"][0]["actor"] == "ada"
    assert "completed" in ada("approve", run, "ask", code=7).err


def test_a_run_is_held_and_signalled(flowforge: Shell, flow: Flow):
    """Both leave actor and reason in the history; a signal with another name is refused."""
    run = flowforge("run", flow(PAID)).out.strip()
    assert flowforge("pause", run, "--reason", "bank holiday", "--json").document["status"] == "paused"
    assert "flowforge resume" in flowforge("show", run).err
    flowforge("resume", run)
    assert "did you mean 'paid'" in flowforge("signal", run, "piad", code=7).err
    flowforge("signal", run, "paid", '{"amount": 120}')
    done = flowforge("wait", run, "--json").document
    assert done["output"]["paid"]["payload"] == {"amount": 120}
    reasons = [event["data"].get("reason") for event in flowforge("events", run, "--json").document["events"]]
    assert "bank holiday" in reasons
    assert "only a running run" in flowforge("pause", run, code=7).err


def test_what_could_not_be_undone_is_an_incident(flowforge: Shell, flow: Flow):
    """It is shown, retried, skipped and resolved."""
    run = flowforge("run", flow(f"{SAGA}\n{BAD}"), "-i", "n=1", "-i", "undo=0", "--wait", code=5).out.strip()
    assert "undoing is failed" in flowforge("show", run).out
    listed = flowforge("incident", "ls", "--json").document["incidents"]
    (incident,) = [one for one in listed if one["run"] == run]
    assert (incident["kind"], incident["step"], incident["status"]) == ("compensation_failed", "pay", "open")
    assert "not undone pay" in flowforge("incident", "show", str(incident["id"])).out
    flowforge("skip", run, "pay:compensate", "--reason", "by hand")
    flowforge("wait", run, code=5)
    assert flowforge("show", run, "--json").document["compensation"]["status"] == "completed"
    flowforge("incident", "resolve", str(incident["id"]), "--note", "refunded")
    assert "already" in flowforge("incident", "resolve", str(incident["id"]), code=7).err
    assert flowforge("incident", "show", "999999", code=3).err


def test_a_replay_is_rehearsed_before_it_is_started(flowforge: Shell, flow: Flow):
    """Exit code 20 says that something would differ."""
    step = '{id: twice, type: transform, config: {expression: "input.n * 2"}}'
    run = flowforge("run", flow(step), "-i", "n=2", "--wait").out.strip()
    assert "would come to the same" in flowforge("replay", run, "--dry-run").out
    changed = flowforge("replay", run, "--set", "input.n=3", "--dry-run", "--json", code=20).document
    assert changed["output"] == {"before": {"twice": {"result": 4}}, "after": {"twice": {"result": 6}}}
    again = flowforge("replay", run, "--set", "n=3").out.strip()
    assert flowforge("wait", again, "--json").document["replay_of"] == run


def test_a_receipt_is_verified_without_a_server(flowforge: Shell, flow: Flow):
    """One changed byte is found."""
    run = flowforge("run", flow(SAGA), "-i", "n=1", "-i", "undo=1", "--wait").out.strip()
    receipt = flowforge("receipt", run, "--json").out
    flowforge.write("receipt.json", receipt)
    alone = flowforge.within(FLOWFORGE_DATABASE_URL="postgresql://nowhere.invalid/x", FLOWFORGE_REDIS_URL="redis://x")
    alone("receipt", "verify", "receipt.json")
    document = json.loads(receipt)
    assert (document["status"], document["steps"][0]["status"]) == ("EXECUTED", "SUCCESS")
    flowforge.write("receipt.json", receipt.replace('"EXECUTED"', '"FAILED"'))
    alone("receipt", "verify", "receipt.json", code=20)


def test_the_transient_error_of_the_source_document(flowforge: Shell, flow: Flow):
    """The engine retries, the workflow completes, and a receipt is generated (source document 002, BDD scenario)."""
    flowforge.write("flaky.py", "from pathlib import Path\ndef look():\n    return Path('there').read_text()\n")
    retry = "{max_attempts: 100, initial_delay: 200ms, backoff: fixed}"
    step = f'{{id: a, type: python, config: {{function: "flaky:look"}}, retry: {retry}}}'
    run = flowforge("run", flow(step)).out.strip()
    eventually_sync(lambda: flowforge("show", run, "--json").document["steps"][0]["attempts"] > 1)
    flowforge.write("there", "now")
    assert flowforge("wait", run, "--json").document["status"] == "completed"
    receipt = flowforge("receipt", run, "--json").document
    assert receipt["steps"][0]["attempts"] > 1
    types = [event["type"] for event in flowforge("events", run, "--json").document["events"]]
    assert types[-1] == "workflow.receipt.generated"
