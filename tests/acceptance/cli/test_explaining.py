"""`explain`, `queue`, `workflow pause` and `resume`, as they are typed: codes, documents, and what is said."""

from __future__ import annotations

from tests.acceptance.cli.conftest import Flow, Shell

#: On a queue that nobody serves, so that it stays where it is.
ELSEWHERE = '{id: a, type: transform, queue: elsewhere, config: {expression: "1"}}'


def test_a_run_that_stands_still_is_explained_held_and_let_go(flowforge: Shell, flow: Flow):
    """The same answer for people and for scripts; both switches say the same when they are asked twice."""
    run = flowforge("run", flow(ELSEWHERE)).out.strip()
    said = flowforge("explain", run)
    assert "none serves queue 'elsewhere'" in said.out
    assert "try: flowforge worker start --queue elsewhere" in said.out
    document = flowforge("explain", run, "--json").document
    assert (document["schema"], document["run"]) == ("flowforge/explanation/v1", run)
    assert (document["causes"][0]["kind"], document["stuck"]) == ("no_worker", True)
    held = flowforge("queue", "pause", "elsewhere", "--reason", "move house")
    assert "workers hear of it with their next heartbeat" in held.err
    assert "was paused already" in flowforge("queue", "pause", "elsewhere").err
    queues = flowforge("queue", "ls", "--json").document
    (mine,) = [one for one in queues["queues"] if one["name"] == "elsewhere"]
    assert (queues["schema"], mine["paused"], mine["reason"]) == ("flowforge/queues/v1", True, "move house")
    assert flowforge("queue", "resume", "elsewhere", "--json").document["changed"] is True
    everything = flowforge("explain", "--json").document
    assert any(cause["subject"]["name"] == "elsewhere" for cause in everything["causes"])
    flowforge("cancel", run)


def test_a_workflow_is_held_and_let_go(flowforge: Shell, flow: Flow):
    """Starts are accepted meanwhile."""
    file = flow(ELSEWHERE)
    name = flowforge("workflow", "publish", file, "--json").document["workflow"]
    flowforge("workflow", "pause", name, "--reason", "wrong rates")
    run = flowforge("run", file).out.strip()
    assert f"try: flowforge workflow resume {name}" in flowforge("explain", run).out
    assert "PAUSED" in flowforge("workflow", "ls").out
    flowforge("workflow", "resume", name)
    assert flowforge("explain", run, "--json").document["causes"][0]["kind"] == "no_worker"
    flowforge("cancel", run)


def test_what_is_not_there_and_what_cannot_be_reached(flowforge: Shell):
    """3 for an unknown run, workflow or queue, 4 without Postgres; each says what next."""
    assert "no run" in flowforge("explain", "0123456789abcdef", code=3).err
    assert "did you mean 'default'" in flowforge("queue", "pause", "defualt", code=3).err
    assert flowforge("queue", "dead", "--json").document["letters"] == []
    away = flowforge.within(
        FLOWFORGE_DATABASE_URL="postgresql://127.0.0.1:1/none", FLOWFORGE_REDIS_URL="redis://127.0.0.1:1"
    )
    assert "Postgres cannot be reached" in away("explain", code=4).err
