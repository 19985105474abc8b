"""Every step of a workflow as a numbered node, and what its names mean where it stands.

The children of a parallel step are nodes of their own, called `<parent>.<child>`. A name is looked up among the
siblings first, then outward, and last as a full id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from flowforge.model.definition import MAX_STEPS, ParallelConfig, Step, Workflow
from flowforge.model.diagnostics import MAX_FINDINGS, Diagnostic, Path, closest


@dataclass(slots=True)
class Scope:
    """The names of one list of steps, inside those around it."""

    outer: Scope | None
    names: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Node:
    """A step, before it is compiled."""

    no: int
    id: str
    step: Step
    #: Where the step stands in the definition.
    path: Path
    parent: int | None
    scope: Scope
    children: list[int] = field(default_factory=list)


class Nodes:
    """All nodes of a workflow, by number; a parent comes before its children."""

    def __init__(self, workflow: Workflow, findings: list[Diagnostic]) -> None:
        self.all: list[Node] = []
        self.by_id: dict[str, int] = {}
        self.top = Scope(None)
        self._findings = findings
        self._number(workflow)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.all)

    def __getitem__(self, no: int) -> Node:
        return self.all[no]

    def __len__(self) -> int:
        return len(self.all)

    def lookup(self, name: str, scope: Scope) -> int | None:
        """Return the node that *name* means in *scope*."""
        inner: Scope | None = scope
        while inner is not None:
            found = inner.names.get(name)
            if found is not None:
                return found
            inner = inner.outer
        return self.by_id.get(name)

    def meant(self, name: str, scope: Scope) -> str | None:
        """Return the known name that *name* may be a misspelling of."""
        if len(self._findings) > MAX_FINDINGS:
            return None
        known = dict.fromkeys(self.by_id)
        inner: Scope | None = scope
        while inner is not None:
            known |= dict.fromkeys(inner.names)
            inner = inner.outer
        return closest(name, known)

    def inside(self, no: int, around: int) -> bool:
        """Say whether node *no* lies somewhere inside the parallel step *around*."""
        parent = self.all[no].parent
        while parent is not None:
            if parent == around:
                return True
            parent = self.all[parent].parent
        return False

    def _number(self, workflow: Workflow) -> None:
        pending: list[tuple[Step, Path, int | None, Scope]] = [
            (step, ("steps", no), None, self.top) for no, step in enumerate(workflow.steps)
        ]
        pending.reverse()
        while pending:
            step, path, parent, scope = pending.pop()
            if len(self.all) >= MAX_STEPS:
                message = f"a workflow has at most {MAX_STEPS:,} steps"
                self._findings.append(Diagnostic("FF002", message, path=path))
                return
            node = self._add(step, path, parent, scope)
            if isinstance(step.config, ParallelConfig):
                inner = Scope(scope)
                pending += [
                    (child, (*path, "config", "steps", no), node.no, inner)
                    for no, child in reversed(list(enumerate(step.config.steps)))
                ]

    def _add(self, step: Step, path: Path, parent: int | None, scope: Scope) -> Node:
        full = step.id if parent is None else f"{self.all[parent].id}.{step.id}"
        node = Node(len(self.all), full, step, path, parent, scope)
        if step.id in scope.names:
            message = f"two steps have the id '{step.id}'"
            self._findings.append(Diagnostic("FF010", message, path=(*path, "id")))
        else:
            scope.names[step.id] = node.no
            self.by_id[full] = node.no
        self.all.append(node)
        if parent is not None:
            self.all[parent].children.append(node.no)
        return node
