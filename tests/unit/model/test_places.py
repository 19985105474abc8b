"""What expressions may read where they stand, and approvals that can never be enough: told with the place and help."""

import pytest

from flowforge.errors import DefinitionError
from flowforge.model.diagnostics import Diagnostic
from flowforge.model.load import from_data, load


def steps(*lines: str, head: str = "name: test\n") -> str:
    """Return a definition with these lines as flow-style steps, from line 3 on."""
    return head + "steps:\n" + "".join(f"  - {{{line}}}\n" for line in lines)


def the_error(text: str) -> Diagnostic:
    """Return the one finding of a text that has an error."""
    with pytest.raises(DefinitionError) as caught:
        load(text)
    found: tuple[Diagnostic, ...] = tuple(caught.value.diagnostics)
    (finding,) = found
    return finding


T = 'type: transform, config: {expression: "1"}'


@pytest.mark.parametrize(
    ("line", "read", "words"),
    [
        ("id: a, type: transform, config: {expression: '[input.x, run.index]'}", "run.index", "only inside a foreach"),
        ("id: a, type: transform, config: {expression: run.indx}", "run.indx", "there is no 'run.indx'"),
        ("id: a, type: http, config: {url: \"https://x/{{ run['index'] }}\"}", "run['index']", "only inside a foreach"),
        ("id: a, type: transform, config: {expression: item}", "item", "only inside a foreach"),
    ],
)
def test_what_a_run_does_not_have_where_it_is_read_is_said(line, read, words):
    """Where it stands, and how to go on."""
    finding = the_error(steps(line))
    assert (finding.code, finding.line) == ("FF015", 3)
    assert finding.column is not None
    assert f"  - {{{line}}}"[finding.column - 1 :][: finding.length] == read
    assert words in finding.message
    assert finding.help is not None


def test_what_has_a_default_may_be_absent():
    """And a foreach has an index, also where it is undone."""
    index = "type: transform, config: {expression: run.index}"
    loaded = load(
        steps(
            "id: a, type: transform, config: {expression: 'get(run.index, 0)'}",
            f"id: b, type: foreach, config: {{items: '[1]', step: {{id: c, {index}, compensate: {{{index}}}}}}}",
        )
    )
    assert loaded.warnings == ()


def test_the_output_of_a_run_knows_its_id_alone():
    """Nothing else of it is known then."""
    finding = the_error(steps(f"id: a, {T}", head="name: abc\noutput: '{{ [run.id, run.attempt] }}'\n"))
    assert (finding.code, finding.message) == ("FF015", "there is no 'run.attempt' here")


def test_the_failure_of_the_run_is_read_where_something_is_undone():
    """Elsewhere it is always null, which is a warning."""
    undo = "compensate: {type: transform, config: {expression: run.error.message}}"
    assert load(steps(f"id: a, {T}, {undo}")).warnings == ()
    (warning,) = load(steps("id: a, type: transform, config: {expression: run.error}")).warnings
    assert (warning.code, warning.severity, warning.line) == ("FF023", "warning", 3)
    assert "compensate" in (warning.help or "")


def test_a_definition_that_was_published_before_is_compiled_as_it_is():
    """What is looked for since then is none of its mistakes."""
    data = {"name": "abc", "steps": [{"id": "a", "type": "transform", "config": {"expression": "run.index"}}]}
    assert from_data(data).plan.steps[0].reads_run


@pytest.mark.parametrize(
    ("config", "warned"),
    [
        ("approvers: [ada, bob], required: 3", True),
        ("approvers: [ada, bob], required: 3, escalate: {after: 1h, approvers: cyd}", False),
        ("approvers: [ada, bob], required: all", False),
        ("approvers: finance, required: 2", False),
        ("required: 2", False),
    ],
)
def test_more_approvals_than_people_who_are_named_are_a_warning(config, warned):
    """One name alone is that of a group; one of several may be."""
    found = load(steps(f"id: a, type: approval, config: {{prompt: Really, {config}}}")).warnings
    assert [one.code for one in found] == ["FF024"] * warned
