"""What is looked at before something happens, and after: simulate, the gate of publish, doctor."""

from __future__ import annotations

from tests.acceptance.cli.conftest import QUICK, Flow, Shell

TWICE = '{{id: twice, type: transform, config: {{expression: "input.n * {}"}}}}'
SEND = '{id: send, type: http, config: {url: "https://shop.example/{{ input.n }}"}, retry: {max_attempts: 2}}'


def test_a_file_is_simulated_without_a_server(flowforge: Shell, flow: Flow):
    """The exit code is the run's, and nothing was started for it."""
    alone = flowforge.within(FLOWFORGE_HOME=str(flowforge.folder / "nowhere"))
    file = flow(SEND)
    done = alone("workflow", "simulate", file, "-i", "n=7", "--stub", 'send={"body": 1}', "--fail", "send=1", "--json")
    (step,) = done.document["steps"]
    assert [one["outcome"] for one in step["attempts"]] == ["failed", "completed"]
    assert step["config"]["url"] == "https://shop.example/7"
    shown = alone("workflow", "simulate", file, "--set", "input.n=7", "--fail", "send=always:HTTP_503", code=5).out
    assert "✗ FAILED" in shown
    assert "step.retrying" in shown
    assert "did you mean 'send'" in alone("workflow", "simulate", file, "--stub", "sned=1", code=2).err
    assert "a number of attempts" in alone("workflow", "simulate", file, "--fail", "send=no", code=2).err
    waits = flow("{id: paid, type: wait_signal}", "waits.yaml")
    assert "--signal paid=JSON" in alone("workflow", "simulate", waits, code=8).out
    assert not (flowforge.folder / "nowhere").exists()


def test_what_a_run_has_recorded_stands_in(flowforge: Shell, flow: Flow):
    """Its input too, unless another is given."""
    file = flow(TWICE.format(2))
    run = flowforge("run", file, "-i", "n=4", "--wait").out.strip()
    done = flowforge("workflow", "simulate", file, "--from-run", run, "--json").document
    assert (done["input"], done["output"]) == ({"n": 4}, {"twice": {"result": 8}})


def test_nothing_is_published_where_past_runs_would_differ(flowforge: Shell, flow: Flow, queue: str):
    """Exit code 20, by class; what is accepted passes."""
    flowforge("run", flow(TWICE.format(2)), "-i", "n=4", "--wait")
    changed = flow(TWICE.format(3))
    gate = ("workflow", "publish", changed, "--verify-last", "10")
    refused = flowforge(*gate, "--json", code=20)
    assert refused.document["published"] is False
    assert [(one["class"], one["step"]) for one in refused.document["divergences"]] == [("output", "twice")]
    assert "--accept output" in refused.err
    assert len(flowforge("workflow", "show", queue, "--json").document["versions"]) == 1
    assert flowforge(*gate, "--accept", "output", "--json").document["verification"]["replayed"] == 1
    assert "no finished run" in flowforge("workflow", "publish", flow(QUICK), "--verify-last", "10").err
    assert "is not a class" in flowforge(*gate, "--accept", "all", code=2).err


def test_the_doctor_says_how_an_installation_is(flowforge: Shell):
    """Also with its servers down, and it starts none."""
    found = flowforge("doctor", "--json", code=None)
    assert found.code in (0, 20)
    assert len(found.document["invariants"]) == 12
    assert {one["kind"] for one in found.document["findings"] if one["invariant"] is not None} == set()
    nowhere = flowforge.within(FLOWFORGE_HOME=str(flowforge.folder / "nowhere"))
    down = nowhere("doctor", "--json", code=4).document
    assert {one["kind"] for one in down["findings"]} == {"server.postgres", "server.redis"}
    assert {one["holds"] for one in down["invariants"]} == {None}
    assert "flowforge up" in nowhere("doctor", code=4).out
