"""Steps that can never run, because what they wait for excludes each other.

For each step, what conditionals must have chosen for it to run is followed through the graph. The knowledge is
bounded, so that the walk stays linear; forgetting some of it only means that fewer such steps are found.
"""

from __future__ import annotations

from collections.abc import Mapping

from flowforge.model.diagnostics import Diagnostic
from flowforge.model.plan import Edge, Join
from flowforge.model.wiring import Wiring

#: Conditionals that are remembered for a step.
_REMEMBERED = 16

#: Conditional → the targets of which one must have been chosen.
_Needs = dict[int, frozenset[int]]


def unreachable(wiring: Wiring, joins: list[Join]) -> list[Diagnostic]:
    """Return a finding for each step that no choice of the conditionals lets run."""
    needs: list[_Needs | None] = [{} for _ in wiring.nodes]
    findings = []
    for no in wiring.order:
        edges = [edge for edge in wiring.dependencies[no].values() if not edge.order_only]
        needs[no] = _step_needs(edges, joins[no], needs)
        if needs[no] is None and all(needs[edge.step] is not None for edge in edges):
            node = wiring.nodes[no]
            message = f"step '{node.id}' can never run: it waits for branches of which only one is taken"
            help_text = "with join: auto or any, one of them is enough"
            findings.append(Diagnostic("FF016", message, path=(*node.path, "id"), help=help_text))
    return findings


def _step_needs(edges: list[Edge], join: Join, needs: list[_Needs | None]) -> _Needs | None:
    """What must have been chosen for a step to run; None when nothing will do."""
    each = [_edge_needs(edge, needs) for edge in edges]
    if join is Join.ALL:
        merged: _Needs = {}
        for one in each:
            if one is None or (both := _both(merged, one)) is None:
                return None
            merged = both
        return merged
    if join is Join.AUTO:
        each = [one for one, edge in zip(each, edges, strict=True) if edge.branch or one != {}]
    if not each:
        return {}
    possible = [one for one in each if one is not None]
    return _either(possible) if possible else None


def _edge_needs(edge: Edge, needs: list[_Needs | None]) -> _Needs | None:
    source = needs[edge.step]
    if source is None or edge.leads_to is None:
        return source
    return _both(source, {edge.step: frozenset({edge.leads_to})})


def _both(one: _Needs, other: Mapping[int, frozenset[int]]) -> _Needs | None:
    merged = dict(one)
    for conditional, targets in other.items():
        common = merged[conditional] & targets if conditional in merged else targets
        if not common:
            return None
        if conditional in merged or len(merged) < _REMEMBERED:
            merged[conditional] = common
    return merged


def _either(all_: list[_Needs]) -> _Needs:
    merged = all_[0]
    for one in all_[1:]:
        merged = {key: targets | one[key] for key, targets in merged.items() if key in one}
        if not merged:
            break
    return merged
