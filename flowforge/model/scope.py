"""Every step of a workflow as a numbered node, and what its names mean where it stands.

The children of a parallel step are nodes of their own, called `<parent>.<child>`; what a foreach repeats is a node
called `<foreach>[]`, and comes after all that is not repeated. A name is looked up among the
siblings first, then outward, and last as a full id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flowforge.model.definition import MAX_STEPS, Action, ForeachConfig, ParallelConfig, Step, Workflow
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
    #: The foreach that repeats the node, or the parallel step around it.
    foreach: int | None = None
    children: list[int] = field(default_factory=list)
    #: For a foreach: the node that it repeats.
    repeated: int | None = None

    def actions(self) -> Iterator[tuple[Path, Step | Action]]:
        """Yield what is executed for the node, with its place: the step, and what undoes it."""
        yield self.path, self.step
        if self.step.compensate is not None:
            yield (*self.path, "compensate"), self.step.compensate


class Nodes:
    """All nodes of a workflow, by number; a parent comes before its children."""

    def __init__(self, workflow: Workflow, findings: list[Diagnostic]) -> None:
        self.all: list[Node] = []
        self.by_id: dict[str, int] = {}
        self.top = Scope(None)
        #: How many of them are not repeated.
        self.ordinary = 0
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

    def repeated(self, name: str) -> str | None:
        """Return the id of the foreach that repeats a step of this name."""
        inside = (node for node in self.all if node.foreach is not None and name in (node.step.id, node.id))
        found = next(inside, None)
        return None if found is None or found.foreach is None else self.all[found.foreach].id

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
        steps = [(step, ("steps", no), None, self.top) for no, step in enumerate(workflow.steps)]
        self._add_all(steps, None)
        self.ordinary = len(self.all)
        for node in self.all[:]:
            if isinstance(node.step.config, ForeachConfig):
                node.repeated = len(self.all)
                # Several steps are repeated as one parallel step, which is written as the foreach itself.
                single = node.step.config.step is not None
                path: Path = (*node.path, "config", "step") if single else node.path
                # The name of what is repeated is nobody's to read: it has no scope of its own.
                self._add_all([(node.step.config.repeated, path, None, Scope(node.scope))], node)

    def _add_all(self, steps: Sequence[tuple[Step, Path, int | None, Scope]], foreach: Node | None) -> None:
        """Add steps with all that is inside them, in the order in which they are written."""
        pending = list(reversed(steps))
        while pending:
            step, path, parent, scope = pending.pop()
            if len(self.all) >= MAX_STEPS:
                message = f"a workflow has at most {MAX_STEPS:,} steps"
                self._findings.append(Diagnostic("FF002", message, path=path))
                return
            node = self._add(step, path, parent, scope, foreach)
            if isinstance(step.config, ParallelConfig):
                inner = Scope(scope)
                pending += [
                    (child, (*path, "config", "steps", no), node.no, inner)
                    for no, child in reversed(list(enumerate(step.config.steps)))
                ]
            elif isinstance(step.config, ForeachConfig) and foreach is not None:
                message = f"a foreach is inside the foreach '{foreach.id}'"
                help_text = "let the outer one start runs of a workflow that has the inner one"
                self._findings.append(Diagnostic("FF021", message, path=path, help=help_text))

    def _add(self, step: Step, path: Path, parent: int | None, scope: Scope, foreach: Node | None) -> Node:
        if foreach is not None and parent is None:
            full = f"{foreach.id}[]"
        else:
            full = step.id if parent is None else f"{self.all[parent].id}.{step.id}"
        node = Node(len(self.all), full, step, path, parent, scope, None if foreach is None else foreach.no)
        if step.id in scope.names:
            message = f"two steps have the id '{step.id}'"
            self._findings.append(Diagnostic("FF010", message, path=(*path, "id")))
        else:
            if foreach is None or parent is not None:
                scope.names[step.id] = node.no
            self.by_id[full] = node.no
        self.all.append(node)
        if parent is not None:
            self.all[parent].children.append(node.no)
        return node
