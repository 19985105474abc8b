"""Drawings of plans."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowforge.model import graph
from flowforge.model.load import check
from flowforge.model.rails import draw


def plan(*steps):
    """Compile steps; each is a delay unless it says otherwise."""
    return check(
        {"name": "test", "steps": [{"type": "delay", "config": {"duration": 1}, **step} for step in steps]}
    ).plan


DIAMOND = [
    {"id": "a"},
    {"id": "b", "depends_on": "a"},
    {"id": "c", "depends_on": "a"},
    {"id": "d", "depends_on": ["b", "c"]},
]


def test_a_diamond_in_text():
    """Lanes fork below a step and join above the next."""
    assert graph.text(plan(*DIAMOND)).splitlines() == [
        "test",
        "●  a  (delay)",
        "├─╮",
        "● │  b  (delay)",
        "│ ●  c  (delay)",
        "├─╯",
        "●  d  (delay)",
    ]
    assert graph.text(plan(*DIAMOND), unicode=False).isascii()


def test_a_chain_is_one_rail():
    """However long."""
    made = plan({"id": "s0"}, *({"id": f"s{no}", "depends_on": f"s{no - 1}"} for no in range(1, 200)))
    lines = graph.text(made).splitlines()
    assert len(lines) == 201
    assert all(line.startswith("●") for line in lines[1:])


def test_children_stand_below_their_parallel_step():
    """And are counted when they are many."""
    child = {"type": "delay", "config": {"duration": 1}}
    made = plan({"id": "fan", "type": "parallel", "config": {"steps": [child] * 100}}, {"id": "z", "depends_on": "fan"})
    text = graph.text(made)
    assert "+ fan.0" in text
    assert "80 more" in text
    assert len(text.splitlines()) == 24


def test_a_wide_graph_is_listed_instead_of_drawn():
    """Nobody follows fifty lanes."""
    made = plan({"id": "a"}, *({"id": f"s{no}", "depends_on": "a"} for no in range(50)))
    lines = graph.text(made).splitlines()
    assert "● s0  (delay)  after a" in lines
    assert max(map(len, lines)) < 100


def conditional():
    """A choice, with names that try to break out."""
    return plan(
        {
            "id": "if",
            "name": 'x"] --> evil["',
            "type": "conditional",
            "config": {"condition": "1", "branches": {"true": "a", "false": "b"}},
        },
        {"id": "a", "name": "line\nbreak\\"},
        {"id": "b"},
        {
            "id": "p",
            "type": "parallel",
            "config": {"steps": [{"id": "c", "type": "transform", "config": {"expression": "get(steps.a.output)"}}]},
        },
    )


def test_mermaid():
    """Labels on branches, dots on order, a group for a parallel step; names cannot break out."""
    text = graph.mermaid(conditional())
    assert text.startswith("flowchart TD\n")
    assert 'n0 -->|"true"| n1' in text
    assert "n1 -.-> n4" in text
    assert "subgraph g3" in text
    assert "x#quot;] --#gt; evil[#quot;<br>conditional" in text


def test_dot():
    """The same in Graphviz's language."""
    text = graph.dot(conditional())
    assert 'n0 -> n1 [label="true"];' in text
    assert "n1 -> n4 [style=dotted];" in text
    assert "subgraph cluster_3" in text
    assert '"x\\"] --> evil[\\" (conditional)"' in text
    assert '"line break\\\\ (delay)"' in text
    assert text.count("{") == text.count("}")


def test_the_text_names_where_branches_lead():
    """On the conditional's own row."""
    assert "[true: a, false: b]" in graph.text(conditional())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sets(st.integers(0, 9), max_size=3), min_size=1, max_size=10), st.booleans())
def test_every_graph_is_drawn_completely(wanted, unicode):
    """Each node has exactly one row, after all its dependencies."""
    dependencies = {no: sorted(source for source in sources if source < no) for no, sources in enumerate(wanted)}
    lines = draw(dependencies, {no: [f"<{no}>"] for no in dependencies}, unicode=unicode)
    rows = {no: next(at for at, line in enumerate(lines) if line.endswith(f"<{no}>")) for no in dependencies}
    assert len(rows) == len(set(rows.values())) == len(dependencies)
    for no, sources in dependencies.items():
        assert all(rows[source] < rows[no] for source in sources)


@pytest.mark.parametrize("render", [graph.text, graph.mermaid, graph.dot])
def test_large_plans_are_rendered(render):
    """Without recursion, in lines that end."""
    child = {"type": "delay", "config": {"duration": 1}}
    made = plan({"id": "fan", "type": "parallel", "config": {"steps": [child] * 2_000}})
    assert render(made)


def saga():
    """A step that can be undone, and a foreach of two steps."""
    undo = {"type": "transform", "config": {"expression": "1"}}
    inner = [{"id": "x", **undo}, {"id": "y", "depends_on": "x", **undo}]
    items = {"items": "[1, 2]", "max_parallel": 3, "steps": inner}
    return plan(
        {"id": "pay", "compensate": undo},
        {"id": "lines", "type": "foreach", "depends_on": "pay", "config": items},
        {"id": "end", "depends_on": ["pay", "lines"], "join": "any"},
    )


def test_what_a_foreach_repeats_stands_inside_it():
    """With what comes after what, once for all items."""
    lines = graph.text(saga()).splitlines()
    assert [line.strip(" │├╮") for line in lines if "+ " in line] == [
        "+ lines[]  (parallel)  item",
        "+ lines[].x  (transform)",
        "+ lines[].y  (transform)",
    ]
    text = graph.mermaid(saga())
    assert text.count("subgraph") == text.count("end\n") == 2
    assert graph.dot(saga()).count("subgraph cluster_") == 2


def test_what_undoes_a_step_stands_beside_it():
    """In every form, and joins and limits are said."""
    text = graph.text(saga())
    assert "pay  (delay)  [undone by transform]" in text
    assert "lines  (foreach)  [3 at a time]" in text
    assert "end  (delay)  [join any]" in text
    assert '-. "undone by" .->' in graph.mermaid(saga())
    assert '[style=dashed, label="undone by"]' in graph.dot(saga())


def test_a_graph_is_data_too():
    """Every edge names two nodes that are there."""
    found = graph.document(saga())
    ids = {node["id"] for node in found["nodes"]}
    assert {"pay", "pay:compensate", "lines", "lines[].x"} <= ids
    assert all({edge["from"], edge["to"]} <= ids for edge in found["edges"])
    assert {"from": "pay", "to": "pay:compensate", "kind": "undone_by", "label": None} in found["edges"]
