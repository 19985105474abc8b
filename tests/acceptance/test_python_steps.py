"""Functions of all kinds: typed, asynchronous, talkative, and those that take their interpreter down."""

from __future__ import annotations

import pytest

from tests.acceptance.kit.person import Operator, steps
from tests.support.eventually import eventually_sync

pytestmark = pytest.mark.usefixtures("worker")

ONE = "retry: {max_attempts: 1}"


def test_a_function_gets_typed_arguments_and_may_be_a_coroutine(operator: Operator):
    """Dataclasses, Decimal and date are made of JSON; `async def` is awaited."""
    flow = operator.flow("""
        steps:
          - id: total
            type: python
            config: {function: "shop:total", args: {items: "{{ input.items }}", day: "2026-02-03"}}
          - {id: slept, type: python, config: {function: "shop:slept", args: [0.05]}}
    """)
    items = '[{"price": "0.10", "count": 3}, {"price": 2, "count": 1}]'
    document = operator.run(flow, "-i", f"items={items}")
    assert document["output"] == {"total": {"total": "2.30", "year": 2026}, "slept": "awake"}


def test_a_function_may_ask_for_the_context_of_its_attempt(operator: Operator):
    """Run, workflow, version, step, attempt and the key that is the same for every attempt."""
    flow = operator.flow('steps: [{id: who, type: python, config: {function: "shop:about"}}]\n')
    document = operator.run(flow)
    assert document["output"]["who"] == {
        "run_id": document["id"],
        "workflow": flow.stem,
        "version": 1,
        "step": "who",
        "attempt": 1,
        "key": f"{document['id']}:who",
        "cancelled": False,
    }


def test_everything_a_step_writes_can_be_read_afterwards(operator: Operator):
    """stdout, stderr, logging and what children write, in order, also without a last line end."""
    flow = operator.flow("""
        steps:
          - {id: say, type: python, config: {function: "shop:say", args: [100]}}
          - {id: silent, type: python, depends_on: say, config: {function: "shop:nap", args: [0]}}
    """)
    run = operator.run(flow)["id"]
    lines = operator.shell.type("logs", run).out.splitlines()
    said = [line for line in lines if not line.startswith("line ")]
    for expected in ("first line", "to stderr", "from a shell", "last line without an end"):
        assert expected in said
    assert any("a warning" in line for line in said)
    assert [line.split()[1] for line in lines if line.startswith("line ")] == [str(no) for no in range(100)]
    assert operator.shell.type("logs", run, "silent", "--json").document["logs"] == []


def test_a_step_that_writes_without_end_neither_stops_nor_fills_the_database(operator: Operator):
    """Eight megabytes are written; what is kept says where it was cut."""
    flow = operator.flow('steps: [{id: say, type: python, config: {function: "shop:say", args: [100000]}}]\n')
    document = operator.run(flow)
    assert document["output"] == {"say": 100000}
    (log,) = operator.shell.type("logs", document["id"], "--json").document["logs"]
    assert log["text"].startswith("first line")
    assert len(log["text"]) < 200_000
    assert "truncated" in log["text"]


DEATHS = {
    'function: "shop:leave", args: [0]': "exit status 0",
    'function: "shop:leave", args: [7]': "exit status 7",
    'function: "shop:segfault"': "SIGSEGV",
    'function: "shop:kill"': "SIGKILL",
}


def test_a_function_that_takes_its_interpreter_down_fails_its_step_and_nothing_else(operator: Operator):
    """os._exit, SIGSEGV, SIGKILL: the step says what its process died of; steps beside it and the worker go on."""
    retry = "retry: {max_attempts: 2, initial_delay: 10ms}"
    dying = "".join(
        f"\n  - {{id: dies{no}, type: python, {retry}, config: {{{call}}}}}" for no, call in enumerate(DEATHS)
    )
    of = steps(
        operator.run(
            operator.flow(
                f"error_handling: {{on_error: continue}}\nsteps:{dying}\n"
                '  - {id: lives, type: python, config: {function: "shop:nap", args: [0.5]}}\n'
                "  - {id: end, type: python, depends_on: [dies0, dies1, dies2, dies3, lives],"
                ' config: {function: "shop:nap", args: [0]}}\n'
            )
        )
    )
    for no, words in enumerate(DEATHS.values()):
        step = of[f"dies{no}"]
        assert (step["status"], step["attempts"]) == ("failed", 2)
        assert step["error"]["code"] == "CRASHED"
        assert words in step["error"]["message"]
        assert step["crashes"] == 0, "the worker did not crash"
    assert of["lives"]["status"] == of["end"]["status"] == "completed"
    assert of["lives"]["attempts"] == 1


#: What is called, the code of the error, and a word of its message.
BAD: dict[str, tuple[str | None, str]] = {
    'function: "shop:exit_by_name"': (None, "3"),
    'function: "shop:recurse"': (None, "recursion"),
    'function: "shop:nowhere"': (None, "nowhere"),
    'function: "no_such_module:f"': (None, "no_such_module"),
    'function: "shop:nap", args: {minutes: 1}': (None, "seconds"),
    'function: "shop:nap", args: ["long"]': (None, "seconds"),
    'function: "shop:not_json"': ("INVALID_OUTPUT", "not json"),
    'function: "shop:nan"': ("INVALID_OUTPUT", "nan"),
    'function: "shop:nul"': ("INVALID_OUTPUT", "nul"),
    'function: "shop:surrogate"': ("INVALID_OUTPUT", "surrogate"),
    'function: "shop:large", args: [2097152]': ("TOO_LARGE", "1,048,576"),
}


def test_a_function_that_cannot_be_called_or_gives_no_json_fails_with_a_clear_error(operator: Operator):
    """One sentence names what is wrong, and nothing of the result is stored."""
    bad = "".join(f"\n  - {{id: s{no}, type: python, {ONE}, config: {{{call}}}}}" for no, call in enumerate(BAD))
    document = operator.run(operator.flow(f"error_handling: {{on_error: continue}}\nsteps:{bad}\n"))
    for step, (call, (code, words)) in zip(document["steps"], BAD.items(), strict=True):
        assert (step["status"], step["output"]) == ("failed", None), call
        error = step["error"]
        assert code is None or error["code"] == code, (call, error)
        assert words in error["message"].lower(), (call, error)
        assert len(error["message"].splitlines()) == 1, (call, error)
    alone = operator.flow(f'steps: [{{id: nan, type: python, {ONE}, config: {{function: "shop:nan"}}}}]\n')
    assert operator.run(alone, code=5)["error"]["code"] == "INVALID_OUTPUT"


def test_the_outputs_of_a_run_have_a_limit_together(operator: Operator):
    """Ten outputs of 900 kB are more than 8 MiB: the run fails and says so."""
    children = "".join(
        f'\n  - {{id: s{no}, type: python, {ONE}, config: {{function: "shop:large", args: [900000]}}}}'
        for no in range(10)
    )
    document = operator.run(operator.flow(f"steps:{children}\n"), code=5)
    assert document["error"]["code"] == "RUN_TOO_LARGE"
    assert "8,388,608" in document["error"]["message"]


def test_what_a_function_leaves_running_does_not_reach_into_the_next_attempt(operator: Operator):
    """A thread that goes on after the function returned ends with its process; the result counts."""
    flow = operator.flow("""
        steps:
          - {id: leaves, type: python, config: {function: "shop:leave_threads"}}
          - {id: pid, type: python, depends_on: leaves, config: {function: "os:getpid"}}
          - {id: again, type: python, depends_on: pid, config: {function: "os:getpid"}}
    """)
    document = operator.run(flow)
    assert steps(document)["leaves"]["output"] == "returned"


def test_a_large_result_within_the_limit_arrives_whole(operator: Operator):
    """A million characters pass through the child's pipe, the database and the next step's arguments."""
    flow = operator.flow("""
        steps:
          - {id: large, type: python, config: {function: "shop:large", args: [1000000]}}
          - id: size
            type: python
            depends_on: large
            config: {function: "builtins:len", args: ["{{ steps.large.output }}"]}
    """)
    assert operator.run(flow)["output"] == {"size": 1_000_000}


def test_progress_can_be_seen_while_the_step_runs(operator: Operator):
    """The last value that the function reported stands in the run's document."""
    hold = operator.effects.hold("held")
    flow = operator.flow("""
        steps:
          - {id: long, type: python, config: {function: "shop:progress", args: {url: "@sink/held"}}}
    """)
    run = operator.start(flow)
    query = "SELECT progress FROM steps WHERE run_id = %s"
    eventually_sync(lambda: operator.sql.value(query, run) == {"done": 2, "of": 3})
    assert steps(operator.show(run))["long"]["progress"] == {"done": 2, "of": 3}
    hold.release()
    (call,) = operator.effects.arrived("held")
    (document,) = operator.wait(run)
    assert document["status"] == "completed"
    assert call.key == f"{run}:long"
