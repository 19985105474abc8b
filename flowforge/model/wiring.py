"""The edges of a workflow: written dependencies, branches, and the order that references need.

A parallel step is a join: its dependencies are handed down to its entry children (those that wait for no sibling),
and it waits for all children itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from flowforge.model import order
from flowforge.model.config import Branch, ConditionalConfig, Target
from flowforge.model.diagnostics import Diagnostic, Path
from flowforge.model.plan import Edge
from flowforge.model.scope import Node, Nodes

#: Edges of one workflow.
MAX_EDGES = 250_000
_NONE: frozenset[int] = frozenset()
#: Ids of a circle that are shown.
_SHOWN = 12


@dataclass(slots=True)
class Wiring:
    """The dependencies of each node by source, and the branches of each conditional by label."""

    nodes: Nodes
    findings: list[Diagnostic]
    dependencies: list[dict[int, Edge]] = field(default_factory=list)
    branches: dict[int, dict[str, int | None]] = field(default_factory=dict)
    #: Nodes in topological order; empty when there is none.
    order: list[int] = field(default_factory=list)

    def connect(self) -> None:
        """Fill in the written edges; what is wrong with them goes to the findings."""
        written: list[dict[int, Edge]] = [self._depends_on(node) for node in self.nodes]
        for node in self.nodes:
            if isinstance(node.step.config, ConditionalConfig):
                self._branch(node, node.step.config, written)
        self._hand_down(written)
        self._sort()

    def outward(self, references: Mapping[int, AbstractSet[int]]) -> dict[int, set[int]]:
        """Let a foreach read what the steps that it repeats read outside of it: they start when it has."""
        moved: dict[int, set[int]] = {}
        for no, sources in references.items():
            foreach = self.nodes[no].foreach
            for source in sources:
                inside = foreach is None or self.nodes[source].foreach == foreach
                moved.setdefault(no if inside or foreach is None else foreach, set()).add(source)
        return moved

    def read(self, references: Mapping[int, AbstractSet[int]]) -> list[tuple[int, int]]:
        """Make every node come after those it reads, by edges that only order; return the pairs that cannot be."""
        wanted = (
            {no: sources - self.dependencies[no].keys() for no, sources in references.items()} if self.order else {}
        )
        wanted = {no: sources for no, sources in wanted.items() if sources}
        if not wanted:
            return []
        together = [edges.keys() | wanted.get(no, _NONE) for no, edges in enumerate(self.dependencies)]
        found = order.topological(together)
        if found is None:
            return self._impossible(wanted)
        self.order = found
        rank = {no: at for at, no in enumerate(found)}
        before = [0] * len(together)
        for no in found:
            edges = self.dependencies[no]
            bits = 0
            for source in edges:
                bits |= before[source] | 1 << source
            # The latest first: what comes before it needs no edge of its own.
            for source in sorted(wanted.get(no, _NONE), key=lambda source: -rank[source]):
                if not bits >> source & 1:
                    edges[source] = Edge(source, order_only=True)
                    bits |= before[source] | 1 << source
            before[no] = bits
        return []

    def _impossible(self, wanted: Mapping[int, AbstractSet[int]]) -> list[tuple[int, int]]:
        """Find the reads that go against the written order; if it is the reads alone that go in a circle, say so."""
        before = order.ancestors(self.dependencies, self.order)
        pairs = [(no, source) for no, sources in wanted.items() for source in sorted(sources)]
        impossible = [(no, source) for no, source in pairs if no == source or before[source] >> no & 1]
        if not impossible:
            for no, source in pairs:
                self.dependencies[no][source] = Edge(source, order_only=True)
            self._sort()
        return impossible

    # -- written edges -------------------------------------------------------------------------------------

    def _depends_on(self, node: Node) -> dict[int, Edge]:
        edges: dict[int, Edge] = {}
        for position, name in enumerate(node.step.depends_on):
            path: Path = (*node.path, "depends_on", position)
            source = self.nodes.lookup(name, node.scope)
            if source is None:
                foreach = self.nodes.repeated(name)
                message = f"step '{node.id}' depends on unknown step '{name}'"
                meant = self.nodes.meant(name, node.scope) if foreach is None else foreach
                self.findings.append(Diagnostic("FF012", message, path=path, suggestion=meant))
            elif source == node.no:
                self.findings.append(Diagnostic("FF011", f"step '{node.id}' depends on itself", path=path))
            elif self.nodes[source].foreach != node.foreach:
                self.findings.append(self._outside(node, source, path))
            else:
                edges[source] = Edge(source)
        return edges

    def _outside(self, node: Node, other: int, path: Path) -> Diagnostic:
        """Say that an edge crosses the border of a foreach."""
        name, border = self.nodes[other].id, node.foreach if node.foreach is not None else self.nodes[other].foreach
        message = f"step '{node.id}' and step '{name}' are on two sides of a foreach"
        help_text = f"only '{self.nodes[border or 0].id}' itself can wait for what is outside of it, and be waited for"
        return Diagnostic("FF021", message, path=path, help=help_text)

    def _branch(self, node: Node, config: ConditionalConfig, written: list[dict[int, Edge]]) -> None:
        branches: dict[str, int | None] = {}
        for label, branch in labelled(config):
            path: Path = (*node.path, "config", "branches", *_key(config, label), "target_step")
            name = branch.target_step
            target = None if name is None else self.nodes.lookup(name, node.scope)
            if name is not None and target is None:
                message = f"branch '{label}' of step '{node.id}' leads to unknown step '{name}'"
                meant = self.nodes.meant(name, node.scope)
                self.findings.append(Diagnostic("FF013", message, path=path, suggestion=meant))
            elif target == node.no:
                message = f"branch '{label}' of step '{node.id}' leads to itself"
                self.findings.append(Diagnostic("FF011", message, path=path))
                target = None
            elif target is not None and self.nodes[target].foreach != node.foreach:
                self.findings.append(self._outside(node, target, path))
                target = None
            if target is not None:
                written[target][node.no] = Edge(node.no, branch=True, leads_to=target)
            branches[label] = target
        self.branches[node.no] = branches

    def _hand_down(self, written: list[dict[int, Edge]]) -> None:
        """Give the dependencies of parallel steps to their entry children; parents come before children."""
        handed: list[dict[int, Edge]] = []
        count = 0
        for node in self.nodes:
            edges = written[node.no]
            if node.parent is not None and not self._waits_for_sibling(edges, node.parent):
                edges = {**handed[node.parent], **edges}
            handed.append(edges)
            count += len(edges)
            if count > MAX_EDGES:
                message = f"a workflow has at most {MAX_EDGES:,} dependencies"
                self.findings.append(Diagnostic("FF002", message, path=node.path))
                return
        self.dependencies = [
            {child: Edge(child) for child in node.children} if node.children else handed[node.no] for node in self.nodes
        ]

    def _waits_for_sibling(self, sources: Iterable[int], parent: int) -> bool:
        return any(self.nodes.inside(source, parent) for source in sources)

    # -- circles -------------------------------------------------------------------------------------------

    def _sort(self) -> None:
        if not self.dependencies:
            return
        found = order.topological(self.dependencies)
        self.order = found or []
        if found is None:
            self.findings.append(self._circle(order.circle(self.dependencies)))

    def _circle(self, circle: list[int]) -> Diagnostic:
        around = [*circle, circle[0]]
        ids = [self.nodes[no].id for no in around]
        shown = " → ".join(ids if len(ids) <= _SHOWN else [*ids[:6], f"… {len(ids) - 11} more …", *ids[-5:]])
        pairs = [(around[at], around[at + 1]) for at in range(len(circle))]
        for source, target in pairs:
            edge = self.dependencies[target][source]
            if edge.branch:
                label = next(name for name, no in self.branches[source].items() if no == edge.leads_to)
                path = (*self.nodes[source].path, "config", "branches")
                message = f"branch '{label}' of step '{self.nodes[source].id}' leads back, in a circle: {shown}"
                return Diagnostic("FF011", message, path=path, help="a run never goes back; let a step retry")
        if any(self.dependencies[target][source].order_only for source, target in pairs):
            message = f"steps read each other's output, in a circle: {shown}"
            return Diagnostic("FF015", message, path=self.nodes[circle[0]].path)
        target = next((target for _, target in pairs if self.nodes[target].step.depends_on), circle[0])
        path = (*self.nodes[target].path, "depends_on")
        return Diagnostic("FF011", f"steps depend on each other in a circle: {shown}", path=path)


def labelled(config: ConditionalConfig) -> list[tuple[str, Target | Branch]]:
    """Return the branches of a conditional by label: true and false, or their position."""
    if isinstance(config.branches, dict):
        return list(config.branches.items())
    return [(str(no), branch) for no, branch in enumerate(config.branches)]


def _key(config: ConditionalConfig, label: str) -> Path:
    return (label,) if isinstance(config.branches, dict) else (int(label),)
