"""A plan as a drawing: rails of text for terminals, Mermaid and DOT for documents, nodes and edges for programs.

Children of a parallel step and what a foreach repeats are drawn inside it, what undoes a step beside it. Step names
come from users: whatever they hold, a drawing stays one drawing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowforge.model.plan import Edge, Join, Plan, StepPlan
from flowforge.model.rails import draw

#: Children of a parallel step that a text drawing lists.
MAX_CHILDREN = 20


def text(plan: Plan, *, unicode: bool = True) -> str:
    """Return the graph as rails on the left and one step per row; children stand below their parallel step."""
    outer = [_outermost(plan, step) for step in plan.steps]
    after: dict[int, dict[int, None]] = {step.no: {} for step in plan.steps if step.parent is None}
    for step in plan.steps:
        for edge in step.dependencies:
            source, target = outer[edge.step], outer[step.no]
            if source != target:
                after[target][source] = None
    labels = {no: [_row(plan, plan.steps[no]), *_children(plan, plan.steps[no])] for no in after}
    dependencies = {no: list(sources) for no, sources in after.items()}
    return f"{_clean(plan.name)}\n" + "\n".join(draw(dependencies, labels, unicode=unicode))


def mermaid(plan: Plan) -> str:
    """Return the graph as a Mermaid flowchart; dotted edges only order, labelled ones are branches."""
    lines = ["flowchart TD"]
    for depth, step, opens in _nested(plan):
        pad = "  " * (depth + 1)
        if step is None:
            lines.append(f"{pad}end")
        elif opens:
            lines.append(f'{pad}subgraph g{step.no} ["{_mermaid_text(step.name)}"]')
            lines.append(f'{pad}  n{step.no}(["{_mermaid_text(step.id)}"])')
        else:
            left, right = ("{", "}") if step.type == "conditional" else ("[", "]")
            lines.append(f'{pad}n{step.no}{left}"{_mermaid_text(f"{step.name}<br>{step.type}")}"{right}')
    for source, undoing in _undone(plan):
        lines.append(f'  n{undoing.no}[/"{_mermaid_text(f"{undoing.id}<br>{undoing.type}")}"/]')
        lines.append(f'  n{source.no} -. "undone by" .-> n{undoing.no}')
    for source, edge in _edges(plan):
        label = _label(source, edge)
        arrow = "-.->" if edge.order_only else f'-->|"{_mermaid_text(label)}"|' if label else "-->"
        lines.append(f"  n{source.no} {arrow} n{edge.step}")
    return "\n".join(lines) + "\n"


def dot(plan: Plan) -> str:
    """Return the graph in the language of Graphviz."""
    lines = [f"digraph {_dot_text(plan.name)} {{", "  rankdir=TB; node [shape=box, style=rounded];"]
    for depth, step, opens in _nested(plan):
        pad = "  " * (depth + 1)
        if step is None:
            lines.append(f"{pad}}}")
        elif opens:
            lines.append(f"{pad}subgraph cluster_{step.no} {{ label={_dot_text(step.name)};")
            lines.append(f"{pad}  n{step.no} [label={_dot_text(step.id)}, shape=oval];")
        else:
            shape = ", shape=diamond" if step.type == "conditional" else ""
            lines.append(f"{pad}n{step.no} [label={_dot_text(f'{step.name} ({step.type})')}{shape}];")
    for source, undoing in _undone(plan):
        lines.append(f"  n{undoing.no} [label={_dot_text(f'{undoing.id} ({undoing.type})')}, style=dashed];")
        lines.append(f'  n{source.no} -> n{undoing.no} [style=dashed, label="undone by"];')
    for source, edge in _edges(plan):
        label = _label(source, edge)
        looks = " [style=dotted]" if edge.order_only else f" [label={_dot_text(label)}]" if label else ""
        lines.append(f"  n{source.no} -> n{edge.step}{looks};")
    return "\n".join([*lines, "}"]) + "\n"


def document(plan: Plan) -> dict[str, Any]:
    """Return the graph as data, `flowforge/graph/v1`."""
    drawn = [step for _, step, _ in _nested(plan) if step is not None]
    undone = list(_undone(plan))
    ids = {step.no: step.id for step in (*drawn, *(undoing for _, undoing in undone))}
    nodes = [
        {
            "id": step.id,
            "name": step.name,
            "type": step.type,
            "queue": step.queue,
            "join": step.join.value,
            "inside": None if step.parent is None else ids[step.parent],
        }
        for step in drawn
    ]
    nodes += [
        {"id": one.id, "name": one.name, "type": one.type, "queue": one.queue, "join": None, "inside": None}
        for _, one in undone
    ]
    edges = [
        {
            "from": source.id,
            "to": ids[edge.step],
            "kind": "order" if edge.order_only else "branch" if edge.branch else "dependency",
            "label": _label(source, edge) or None,
        }
        for source, edge in _edges(plan)
    ]
    edges += [{"from": source.id, "to": one.id, "kind": "undone_by", "label": None} for source, one in undone]
    return {"schema": "flowforge/graph/v1", "workflow": plan.name, "nodes": nodes, "edges": edges}


def _inside(step: StepPlan) -> tuple[int, ...]:
    """Return the children of a parallel step, or what a foreach repeats."""
    if step.body is None:
        return step.children
    return tuple(one.no for one in step.body.templates[: step.body.size] if one.parent == step.no)


def _all(plan: Plan) -> Iterator[StepPlan]:
    """Yield every step that is drawn, in order."""
    return (step for _, step, _ in _nested(plan) if step is not None)


def _undone(plan: Plan) -> Iterator[tuple[StepPlan, StepPlan]]:
    """Yield each step that can be undone, with what undoes it."""
    for step in _all(plan):
        if step.compensation is not None:
            yield step, plan.steps[step.compensation]


def _nested(plan: Plan) -> Iterator[tuple[int, StepPlan | None, bool]]:
    """Walk the steps with their children inside them: (depth, step, opens a group), and (depth, None, _) to close."""
    pending: list[tuple[int, int | None]] = [(0, step.no) for step in reversed(plan.steps) if step.parent is None]
    while pending:
        depth, no = pending.pop()
        step = None if no is None else plan.steps[no]
        inside = () if step is None else _inside(step)
        yield depth, step, bool(inside)
        if inside:
            pending.append((depth, None))
            pending += [(depth + 1, child) for child in reversed(inside)]


def _edges(plan: Plan) -> Iterator[tuple[StepPlan, Edge]]:
    for step in _all(plan):
        for edge in step.successors:
            yield step, edge


def _label(source: StepPlan, edge: Edge) -> str:
    if not edge.branch:
        return ""
    return ", ".join(label for label, target in source.branches.items() if target == edge.leads_to)


def _outermost(plan: Plan, step: StepPlan) -> int:
    while step.parent is not None:
        step = plan.steps[step.parent]
    return step.no


def _row(plan: Plan, step: StepPlan) -> str:
    name = "" if step.name == step.id.rpartition(".")[2] else f"  {_clean(step.name)}"
    notes = [_choices(plan, step)]
    if step.body is not None and step.body.max_parallel is not None:
        notes.append(f"  [{step.body.max_parallel} at a time]")
    if step.join is not Join.AUTO and not step.children:
        notes.append(f"  [join {step.join.value}]")
    if step.compensation is not None:
        notes.append(f"  [undone by {_clean(plan.steps[step.compensation].type)}]")
    return f"{step.id}  ({_clean(step.type)}){name}{''.join(notes)}"


def _choices(plan: Plan, step: StepPlan) -> str:
    if not step.branches:
        return ""
    targets = {label: "nothing" if no is None else plan.steps[no].id for label, no in step.branches.items()}
    return "  [" + ", ".join(f"{label}: {target}" for label, target in targets.items()) + "]"


def _children(plan: Plan, step: StepPlan) -> list[str]:
    rows: list[str] = []
    pending = [(1, no) for no in reversed(_inside(step))]
    while pending and len(rows) < MAX_CHILDREN:
        depth, no = pending.pop()
        child = plan.steps[no]
        rows.append("  " * depth + "+ " + _row(plan, child))
        pending += [(depth + 1, inner) for inner in reversed(_inside(child))]
    if pending:
        rows.append(f"  + {len(pending):,} more")
    return rows


def _clean(value: str) -> str:
    return "".join(char if char.isprintable() else " " for char in value)


def _mermaid_text(value: str) -> str:
    escaped = _clean(value).replace("#", "#35;").replace('"', "#quot;").replace("<br>", "\n")
    return escaped.replace("<", "#lt;").replace(">", "#gt;").replace("\n", "<br>")


def _dot_text(value: str) -> str:
    escaped = _clean(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
