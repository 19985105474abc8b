"""What is wrong with a definition, where, and what was meant: all of it at once."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowforge.errors import DefinitionError
from flowforge.model.diagnostics import CODES, Diagnostic, closest, document, in_file_order, render
from flowforge.model.load import check, load
from flowforge.model.text import width


def errors(text, filename="flow.yaml"):
    """Load a text that has errors; return its findings."""
    with pytest.raises(DefinitionError) as caught:
        load(text, filename=filename)
    assert caught.value.diagnostics
    assert all(finding.code in CODES for finding in caught.value.diagnostics)
    return caught.value.diagnostics


def found(text, filename="flow.yaml"):
    """Code, line and column of each finding."""
    return [(finding.code, finding.line, finding.column) for finding in errors(text, filename)]


def steps(*lines, head="name: test\n"):
    """A definition with these lines as flow-style steps, from line 3 on."""
    return head + "steps:\n" + "".join(f"  - {{{line}}}\n" for line in lines)


T = 'type: transform, config: {expression: "1"}'


def test_the_rendering_is_that_of_the_contract():
    """surfaces.md section 2, to the character."""
    text = (
        "name: test\nsteps:\n"
        "  - {id: reserve, "
        + T
        + "}\n"
        + "  - id: charge\n    depends_on: [reserv]\n    type: delay\n    config: {duration: 1}\n"
    )
    (finding,) = errors(text)
    assert render(finding, text, "flows/orders.yaml") == (
        "error[FF012]: step 'charge' depends on unknown step 'reserv'  (did you mean 'reserve'?)\n"
        "  --> flows/orders.yaml:5:18\n"
        "    5 |     depends_on: [reserv]\n"
        "      |                  ^^^^^^"
    )
    document = finding.document()
    assert document["code"] == "FF012"
    assert (document["line"], document["column"], document["suggestion"]) == (5, 18, "reserve")


def test_help_stands_in_a_line_of_its_own():
    """After the excerpt."""
    finding = Diagnostic("FF004", "m", line=1, column=1, help="do this")
    assert render(finding, "x", "f").splitlines()[-1] == "  help: do this"


def test_a_finding_without_a_text_names_its_path():
    """Definitions built in Python have no lines."""
    with pytest.raises(DefinitionError) as caught:
        check({"name": "test", "steps": [{"id": "a", "type": "http", "config": {}}]})
    (finding,) = caught.value.diagnostics
    assert "steps[0].config" in render(finding)


def test_a_rendering_cannot_drive_a_terminal():
    """Control characters of a hostile file are not printed."""
    shown = render(Diagnostic("FF007", "unknown key '\x1b]0;x\x07'", line=1, column=3), "a\x1b[31m\u202ebc", "f")
    assert all(char.isprintable() or char == "\n" for char in shown)


def test_a_long_line_is_shown_around_the_caret():
    """Minified JSON has one line."""
    text = "x" * 5_000 + "HERE" + "y" * 5_000
    lines = render(Diagnostic("FF001", "m", line=1, column=5_001, length=4), text, "f").splitlines()
    assert max(map(len, lines)) < 200
    at = lines[3].index("^^^^")
    assert lines[2][at : at + 4] == "HERE"


def test_every_code_is_explained():
    """One line each."""
    assert all(code.startswith("FF") and words and "\n" not in words for code, words in CODES.items())


def test_all_errors_of_a_file_come_at_once_in_file_order():
    """Settings, graph, branches, expressions and references in one go."""
    text = """name: test
timeout: 10x
steps:
  - {id: a, type: conditional, config: {condition: "1 +", branches: {"true": {target_step: zz}}}}
  - {id: b, type: http, depends_on: [aa], retrry: {}, config: {url: "https://x/{{ steps.q.output }}"}}
  - {id: b, type: delay, config: {duration: 1}}
"""
    assert found(text) == [
        ("FF009", 2, 10), ("FF014", 4, 53), ("FF013", 4, 92), ("FF012", 5, 38), ("FF007", 5, 43), ("FF015", 5, 89),
        ("FF010", 6, 10),
    ]  # fmt: skip


def test_a_faulty_configuration_does_not_hide_the_graph():
    """Even a missing required setting leaves the step its place."""
    codes = [code for code, *_ in found(steps("id: a, type: http, config: {}", f"id: b, depends_on: aa, {T}"))]
    assert codes == ["FF008", "FF012"]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("type: delay, config: {duration: 1}", "FF008", "steps[0] has no 'id'"),
        ("id: a", "FF008", "steps[0] has no 'type'"),
        ("id: a b, " + T, "FF009", "not an id"),
        ("id: a.b, " + T, "FF009", "not an id"),
        ("id: 5, " + T, "FF009", "must be text, not the number 5"),
        ("id: a, type: http", "FF008", "has no 'url'"),
        ("id: a, type: http, config: []", "FF009", "must be a mapping, not a list"),
        ("id: a, type: http, config: {url: x}", "FF009", "http://"),
        ("id: a, type: http, config: {url: 'https://x', method: FETCH}", "FF009", "not an HTTP method"),
        ("id: a, type: http, config: {url: 'https://x', hedders: {}}", "FF007", "unknown key 'hedders'"),
        ("id: a, type: http, config: {url: 'https://x', timeout: 0}", "FF009", "timeout"),
        ("id: a, type: http, config: {url: 'https://x', body: 1, json: 2}", "FF009", "only one of body, json"),
        ("id: a, type: delay, config: {}", "FF009", "either 'duration' or 'until'"),
        ("id: a, type: delay, config: {duration: 1, until: '2030-01-01T00:00:00Z'}", "FF009", "either"),
        ("id: a, type: delay, config: {until: '2030-01-01T00:00:00'}", "FF009", "offset"),
        ("id: a, type: delay, config: {until: tomorrow}", "FF009", "ISO 8601"),
        ("id: a, type: transform, config: {expression: ''}", "FF009", "at least 1"),
        ("id: a, type: transform, config: {expression: 'a b'}", "FF014", "not an expression"),
        ("id: a, type: python, config: {function: charge}", "FF009", "module:function"),
        ("id: a, type: agent, config: {agent_id: x}", "FF009", "needs an 'input'"),
        ("id: a, type: agent, config: {agent_id: x, input: ''}", "FF009", "not empty"),
        ("id: a, type: parallel, config: {steps: []}", "FF009", "at least 1"),
        ("id: a, type: parallel, config: {steps: [{type: http}]}", "FF008", "steps[0].config.steps[0]"),
        ("id: a, type: conditional, config: {branches: {}}", "FF009", "true and false"),
        ("id: a, type: conditional, config: {condition: '1', branches: {yes: {}}}", "FF009", "'true' or 'false'"),
        ("id: a, type: conditional, config: {branches: {'true': {}}}", "FF009", "needs a 'condition'"),
        ("id: a, type: conditional, config: {branches: [{target_step: a}, {when: '1'}]}", "FF009", "only the last"),
        ("id: a, type: conditional, config: {condition: '1', branches: [{}]}", "FF009", "takes no 'condition'"),
        (f"id: a, retry: {{max_attempts: 0}}, {T}", "FF009", "1 or more"),
        (f"id: a, retry: {{max_attempts: 2, max_retries: 1}}, {T}", "FF009", "the same setting"),
        (f"id: a, retry: {{max_retries: -1}}, {T}", "FF009", "between 0 and 99"),
        (f"id: a, retry: {{backoff: expo}}, {T}", "FF009", "must be 'fixed', 'linear' or 'exponential'"),
        (f"id: a, timeout: 0, {T}", "FF009", "at least a millisecond"),
        (f"id: a, join: some, {T}", "FF009", "'auto', 'all' or 'any'"),
        (f"id: a, on_error: ignore, {T}", "FF009", "'fail', 'continue', 'skip' or 'retry'"),
        (f"id: a, queue: 'a b', {T}", "FF009", "name of a queue"),
        (f"id: a, depends_on: {{}}, {T}", "FF009", "depends_on must be a list"),
        (f"id: a, depends_on: [1], {T}", "FF009", "must be text"),
        (f"id: a, depends_on: a, {T}", "FF011", "depends on itself"),
        (f"id: a, compensate: {{type: http}}, {T}", "FF008", "compensate.config has no 'url'"),
        ("id: a, type: transform, config: {expression: 'steps.a.output'}", "FF015", "reads its own output"),
        ("id: a, type: transform, config: {expression: 'item.x'}", "FF015", "only inside a foreach"),
        ("id: a, type: http, config: {url: 'https://x', body: '{{ input.x'}", "FF014", "never closed"),
        ("id: a, type: conditional, config: {condition: '1', branches: {'true': a}}", "FF011", "leads to itself"),
    ],
)
def test_a_faulty_step_is_told_in_plain_words(line, code, words):
    """One finding, with the code and the words for it."""
    (finding,) = errors(steps(line))
    assert finding.code == code
    assert words in finding.message


@pytest.mark.parametrize(
    ("head", "code", "words"),
    [
        ("name: ab\n", "FF009", "at least 3"),
        (f"name: {'a' * 101}\n", "FF009", "at most 100"),
        ("", "FF008", "the workflow has no 'name'"),
        ("name: abc\nversion: 0\n", "FF009", "1 or more"),
        ("name: abc\ntriggers: [{type: cron}]\n", "FF009", "'manual', 'schedule', 'webhook' or 'event'"),
        ("name: abc\nconcurrency: {limit: 0}\n", "FF009", "between 1 and"),
        ("name: abc\nconcurrency: {limit: 5, on_limit: drop}\n", "FF009", "'queue', 'reject' or 'cancel_oldest'"),
        ("name: abc\nconcurrency: {key: '{{ steps.a.output }}'}\n", "FF015", "before any step"),
        ("name: abc\noutput: '{{ steps.zz.output }}'\n", "FF015", "unknown step 'zz'"),
        ("name: abc\noutput: '{{ secrets.k }}'\n", "FF015", "by steps only"),
        ("name: abc\ninput_schema: {type: strin}\n", "FF017", "not a valid JSON Schema"),
        ("name: abc\ninput_schema: {$ref: 'https://x/schema'}\n", "FF017", "outside of itself"),
        ("name: abc\ninput_schema: {$ref: '#/$defs/x'}\n", "FF017", "has no '#/$defs/x'"),
        ("name: abc\nerror_handling: {on_error: ignore}\n", "FF009", "must be"),
        ("name: abc\nstep: []\n", "FF007", "unknown key 'step'"),
    ],
)
def test_a_faulty_workflow_is_told_in_plain_words(head, code, words):
    """The same for what stands around the steps."""
    (finding,) = errors(steps(f"id: a, {T}", head=head))
    assert finding.code == code
    assert words in finding.message


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        (steps(f"id: a, dependson: b, {T}"), "depends_on"),
        (steps(f"id: a, retry: {{max_atempts: 2}}, {T}"), "max_attempts"),
        (steps("id: a, type: http, config: {url: 'https://x', heders: {}}"), "headers"),
        (steps(f"id: abc, {T}", f"id: b, depends_on: abd, {T}"), "abc"),
        (steps("id: abc, type: transform, config: {expression: steps.abd.output}"), "abc"),
        (steps(f"id: a, on_error: contnue, {T}"), "continue"),
        (steps("id: p, type: parallel, config: {steps: [{type: delay, config: {duraton: 1}}]}"), "duration"),
        (steps(f"id: a, {T}", head="name: abc\nconcurency: 5\n"), "concurrency"),
    ],
)
def test_what_was_probably_meant_is_suggested(text, suggestion):
    """Keys, ids, references and choices."""
    assert suggestion in [finding.suggestion for finding in errors(text)]


def test_a_circle_is_listed():
    """With every step in it, in order."""
    (finding,) = errors(
        steps(
            f"id: a, depends_on: c, {T}",
            f"id: b, depends_on: a, {T}",
            f"id: c, depends_on: b, {T}",
            f"id: d, depends_on: c, {T}",
        )
    )
    assert finding.code == "FF011"
    assert "a → b → c → a" in finding.message


def test_a_branch_that_leads_back_is_a_circle():
    """A run never goes back."""
    (finding,) = errors(
        steps(f"id: a, {T}", "id: b, type: conditional, depends_on: a, config: {condition: '1', branches: {'true': a}}")
    )
    assert (finding.code, finding.line) == ("FF011", 4)
    assert "leads back" in finding.message


def test_reading_against_the_order_names_both_steps():
    """Where the reference stands."""
    (finding,) = errors(
        steps("id: a, type: transform, config: {expression: steps.b.output}", f"id: b, depends_on: a, {T}")
    )
    assert "step 'a' reads step 'b', which runs after it" in finding.message
    assert (finding.line, finding.column, finding.length) == (3, 57, 1)


def test_steps_that_read_each_other_are_a_circle():
    """Although nobody wrote a dependency."""
    line = "id: {0}, type: transform, config: {{expression: steps.{1}.output}}"
    (finding,) = errors(steps(line.format("a", "b"), line.format("b", "a")))
    assert "read each other" in finding.message


def test_a_parallel_step_that_waits_for_its_own_child_is_a_circle():
    """And so is a child that waits for its parent."""
    child = "id: p, type: parallel, {0} config: {{steps: [{{id: x, {1} type: delay, config: {{duration: 1}}}}]}}"
    for outer, inner in (("depends_on: p.x,", ""), ("", "depends_on: p,")):
        assert {finding.code for finding in errors(steps(child.format(outer, inner)))} == {"FF011"}


def test_a_step_that_waits_for_both_branches_can_never_run():
    """With join all; the other joins are what was meant."""
    lines = [
        "id: if, type: conditional, config: {condition: '1', branches: {'true': x, 'false': y}}",
        f"id: x, {T}",
        f"id: y, {T}",
        f"id: x2, depends_on: x, {T}",
    ]
    (finding,) = errors(steps(*lines, f"id: z, depends_on: [x2, y], join: all, {T}", f"id: after, depends_on: z, {T}"))
    assert (finding.code, finding.line) == ("FF016", 7)
    for join in ("auto", "any"):
        load(steps(*lines, f"id: z, depends_on: [x2, y], join: {join}, {T}"))


def test_a_misspelt_type_is_a_warning():
    """Another worker may know it."""
    loaded = load(steps("id: a, type: htp, config: {url: x}", "id: b, type: acme_ship"))
    (warning,) = loaded.warnings
    assert (warning.code, warning.severity, warning.suggestion, warning.line) == ("FF018", "warning", "http", 3)


def test_a_misspelt_type_is_found_where_a_step_is_undone_and_where_one_is_repeated():
    loaded = load(
        steps(
            f"id: a, {T}, compensate: {{type: htp, config: {{url: x}}}}",
            "id: b, type: foreach, config: {items: '[1]', steps: [{type: transfrm}]}",
        )
    )
    assert [(w.code, w.path) for w in loaded.warnings] == [
        ("FF018", ("steps", 0, "compensate", "type")),
        ("FF018", ("steps", 1, "config", "steps", 0, "type")),
    ]


def test_undoing_a_cancelled_run_of_which_no_step_can_be_undone_is_a_warning():
    (warning,) = load(steps(f"id: a, {T}", head="name: abc\non_cancel: compensate\n")).warnings
    assert (warning.code, warning.path) == ("FF022", ("on_cancel",))


def test_retries_given_twice_are_a_warning():
    """The step's own count."""
    (warning,) = load(
        steps("id: a, retry: {max_attempts: 2}, type: transform, config: {expression: '1', retry: {max_attempts: 3}}")
    ).warnings
    assert warning.code == "FF019"


def test_keys_that_begin_with_x_are_notes():
    """Anywhere in the settings; in data they are data."""
    loaded = load(
        steps(
            "id: a, x-note: 1, type: http, config: {url: 'https://x', x-a: 1, headers: {x-key: k}}, retry: {x-b: 2}",
            head="name: abc\nx-owner: me\n",
        )
    )
    config: Any = loaded.plan.steps[0].config.render({})
    assert config["headers"] == {"x-key": "k"}


def test_more_steps_or_edges_than_the_limit_are_refused():
    """What a definition can make the compiler do is bounded."""
    child = {"type": "delay", "config": {"duration": 1}}
    sources = [{"id": f"s{no}", **child} for no in range(600)]
    fan = {
        "id": "fan",
        "type": "parallel",
        "depends_on": [step["id"] for step in sources],
        "config": {"steps": [child] * 600},
    }
    with pytest.raises(DefinitionError, match="dependencies"):
        check({"name": "big", "steps": [*sources, fan]})


def test_the_same_mistake_many_times_is_told_two_hundred_times_at_most():
    """Two hundred findings are enough to know."""
    many = range(3_000)
    for text in (
        steps(f"id: a, {T}", head="name: test\n" + "".join(f"k{no}: 1\n" for no in many)),
        json.dumps({"name": "test", "steps": [{"id": f"s{no}", "type": "x", "depends_on": f"t{no}"} for no in many]}),
        json.dumps({"name": "test", "steps": [{"id": "a", "type": "x", "config": {"a": ["{{ steps.b }}"] * 3_000}}]}),
        json.dumps({"name": "test", "steps": [{"id": "a", "type": "x", "config": {"a": ["{{ ("] * 3_000}}]}),
        "a: 1\n" * 3_000,
    ):
        assert 100 < len(errors(text)) <= 200


def test_a_gates_key_without_an_expression_is_a_warning():
    """All runs would share one gate."""
    (warning,) = load(steps(f"id: a, {T}", head="name: abc\nconcurrency: {key: input.region}\n")).warnings
    assert (warning.code, warning.severity, warning.line) == ("FF020", "warning", 2)


def test_the_findings_of_a_file_are_one_document():
    """For --json."""
    made = document(errors("a: [1"), "f.yaml")
    assert (made["schema"], made["file"]) == ("flowforge/diagnostics/v1", "f.yaml")
    assert made["diagnostics"][0]["code"] == "FF001"


def test_suggestions_are_close():
    """Nothing is suggested for what resembles nothing."""
    assert closest("reserv", ["reserve", "charge"]) == "reserve"
    assert closest("Depends-On", ["depends_on"]) == "depends_on"
    assert closest("zzz", ["reserve"]) is None
    assert closest("x" * 1_000, ["x"]) is None


def test_findings_are_sorted_by_place():
    """Those without a place come last, and none is told twice."""
    far, near, nowhere = (
        Diagnostic("FF001", "a", line=2, column=1),
        Diagnostic("FF001", "b", line=1, column=9),
        Diagnostic("FF001", "c"),
    )
    assert in_file_order([nowhere, far, near, far]) == (near, far, nowhere)


REPEATED = "step: {id: load, type: transform, config: {expression: item}}"
UNDO = T + ", compensate: {type: transform, config: {expression: "


@pytest.mark.parametrize(
    ("line", "code", "message", "suggestion"),
    [
        (
            T + ", compensate: {type: parallel, config: {steps: []}}",
            "FF009",
            "cannot be undone by a step of type",
            None,
        ),
        (T + ", compensate: {config: {expression: '1'}}", "FF008", "compensate has no 'type'", None),
        (T + ", compensate: refund", "FF009", "compensate must be a mapping, not 'refund'", None),
        (UNDO + "steps.aa.output}}", "FF015", "reads unknown step 'aa'", "a"),
        (UNDO + "error.message}}", "FF014", "what undoes a step reads 'run.error'", None),
        ("type: foreach, config: {" + REPEATED + "}", "FF008", "config has no 'items'", None),
        ("type: foreach, config: {items: 5, " + REPEATED + "}", "FF009", "an expression that gives a list", None),
        ("type: foreach, config: {items: input.x}", "FF009", "needs either 'step' or 'steps'", None),
        ("type: foreach, config: {items: input.x, max_parallel: 0, " + REPEATED + "}", "FF009", "1 or more", None),
        ("type: transform, config: {expression: item}", "FF015", "only inside a foreach", None),
        ("type: approval, config: {approvers: [ada]}", "FF008", "config has no 'prompt'", None),
        ("type: approval, config: {prompt: x, required: most}", "FF009", "a number or 'all', not 'most'", None),
        ("type: approval, config: {prompt: x, required: 0}", "FF009", "between 1 and 100", None),
        ("type: approval, config: {prompt: x, required: all}", "FF009", "needs 'approvers'", None),
        ("type: approval, config: {prompt: x, on_timeout: rejct}", "FF009", "not 'rejct'", "reject"),
        ("type: approval, config: {prompt: x, escalate: {notify: a}}", "FF008", "escalate has no 'after'", None),
        ("type: wait_signal, config: {nmae: paid}", "FF007", "unknown key 'nmae'", "name"),
        ("type: wait_signal, config: {timeout: soon}", "FF009", "'soon' is not a duration", None),
        ("type: workflow, config: {input: {}}", "FF008", "config has no 'name'", None),
        ("type: workflow, config: {name: child@new}", "FF009", "is not name@version", None),
        ("type: workflow, config: {name: child@2, version: 3}", "FF009", "both give a version", None),
        (T + ", retry: {max_crash: 1}", "FF007", "unknown key 'max_crash'", "max_crashes"),
    ],
)
def test_what_is_wrong_with_undoing_repeating_and_waiting(line, code, message, suggestion):
    """Each says what, where, and what was meant."""
    (finding,) = errors(steps("id: a, " + line))
    assert (finding.code, finding.line, finding.suggestion) == (code, 3, suggestion)
    assert message in finding.message
    assert finding.column is not None


@pytest.mark.parametrize(
    ("line", "message", "suggestion"),
    [
        ("type: transform, config: {expression: steps.load.output}", "read steps.each.output.results", None),
        (T + ", depends_on: load", "depends on unknown step 'load'", "each"),
    ],
)
def test_what_a_foreach_repeats_is_not_seen_from_outside(line, message, suggestion):
    """It says what can be read instead."""
    (finding,) = errors(steps("id: each, type: foreach, config: {items: input.x, " + REPEATED + "}", "id: b, " + line))
    assert message in finding.message
    assert (finding.line, finding.suggestion) == (4, suggestion)


def test_what_follows_a_cancel_is_one_of_two_words():
    """And a misspelt one is seen."""
    (finding,) = errors(steps("id: a, " + T, head="name: test\non_cancel: compensat\n"))
    assert (finding.code, finding.suggestion) == ("FF009", "compensate")


WORDS = st.sampled_from(
    ["id", "name", "type", "config", "steps", "depends_on", "retry", "http", "delay", "parallel", "conditional",
     "branches", "condition", "target_step", "url", "true", "a", "timeout", "5s", "join", "expression", "transform",
     "concurrency", "output", "input_schema", "$ref", "error_handling", "{{", "{{ steps.a.output }}"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 5) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
STEP = st.fixed_dictionaries(
    {"id": WORDS, "type": WORDS},
    optional={"config": VALUES, "depends_on": VALUES, "retry": VALUES, "compensate": VALUES},
)
DEFINITIONS = st.fixed_dictionaries(
    {"name": st.just("test"), "steps": st.lists(STEP | VALUES, max_size=4)},
    optional={"output": VALUES, "concurrency": VALUES, "input_schema": VALUES},
)


@settings(deadline=None, max_examples=120)
@given(DEFINITIONS | VALUES)
def test_no_data_breaks_the_checks(data):
    """Whatever stands where, the answer is a plan or findings."""
    try:
        check(data)
    except DefinitionError as error:
        shown = [render(finding) for finding in error.diagnostics]
    else:
        shown = ["a plan"]
    assert shown


@pytest.mark.parametrize("room", [20, 40, 80, None])
@pytest.mark.parametrize("before", ["", "name: abc, ", "name: " + "漢字" * 30 + ", "])
def test_the_caret_stays_below_what_it_points_at(room: int | None, before: str):
    """On terminals of any width, and behind characters of two cells."""
    source = f"{before}depends_on: [reserv]" + " # and so on" * 20
    column = source.index("reserv") + 1
    finding = Diagnostic("FF012", "no such step", path=("steps",), line=1, column=column, length=6)
    shown, caret = render(finding, source, "x.yaml", room=room).splitlines()[2:4]
    at = caret.index("^")
    cells = [char for char in shown for _ in range(width(char))]
    assert "".join(cells[at : at + 6]) == "reserv"
    assert caret.count("^") == 6
    assert width(shown) <= (room or 200)
