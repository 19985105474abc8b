"""From a definition to a plan: every step numbered, wired and parsed, or every reason why not.

A child's final failure never fails the run by itself: its join does, as `wait_for_all` says. The plan therefore
leaves a child's `on_error` as declared, and the engine goes by `parent`. The join node of a parallel step has
`join: any` (it is skipped only when all its children are) and one attempt (its children have the retries, for which
the parallel step's own settings are the default). A foreach is to what it repeats as a parallel step to its children.
What undoes a step is a step without edges, behind all others. Everything here is linear in steps and edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from flowforge.errors import DefinitionError
from flowforge.model import duration, reach
from flowforge.model.bindings import Binder, Bound
from flowforge.model.canonical import canonical
from flowforge.model.config import StepConfig, WaitSignalConfig, holds_template
from flowforge.model.definition import ForeachConfig, ParallelConfig, Workflow
from flowforge.model.diagnostics import Diagnostic
from flowforge.model.json import InvalidJson, digest
from flowforge.model.numbering import Steps
from flowforge.model.plan import MAX_ITEMS, Body, Edge, GatePlan, Join, OnError, OnLimit, Plan, StepPlan
from flowforge.model.retry import RetryPolicy
from flowforge.model.scope import Node, Nodes
from flowforge.model.template import Template
from flowforge.model.wiring import Wiring

#: Longest time of one attempt, unless the definition says otherwise.
STEP_TIMEOUT = timedelta(minutes=5)
#: Active runs of a workflow, unless the definition says otherwise.
GATE_LIMIT = 100
QUEUE = "default"


def compile_plan(workflow: Workflow) -> Plan:
    """Return the plan of *workflow*; raises DefinitionError with all findings."""
    plan, findings = examine(workflow)
    errors = [finding for finding in findings if finding.severity == "error"]
    if plan is None or errors:
        first = errors[0].message if errors else "it cannot be compiled"
        raise DefinitionError(f"workflow '{workflow.name}' is not valid: {first}", diagnostics=findings)
    return plan


def examine(workflow: Workflow, *, trusted: bool = False) -> tuple[Plan | None, list[Diagnostic]]:
    """Return the plan, if there can be one, and everything there is to say about the definition.

    *trusted* skips what costs imports and cannot be wrong in a definition that was checked when it was published.
    """
    findings: list[Diagnostic] = []
    nodes = Nodes(workflow, findings)
    wiring = Wiring(nodes, findings)
    wiring.connect()
    binder = Binder(nodes, findings, trusted=trusted)
    bound = [binder.bind(node) for node in nodes]
    undoing = {node.no: binds for node in nodes if (binds := binder.compensation(node)) is not None}
    output = binder.output(workflow)
    key = binder.gate_key(workflow)
    reads = {node.no: binds.steps for node, binds in zip(nodes, bound, strict=True) if binds.steps}
    for no, source in wiring.read(wiring.outward(reads)):
        binder.reads_later(no, source)
    try:
        fingerprint = digest(canonical(workflow))
    except InvalidJson as error:
        findings.append(
            Diagnostic("FF005", f"the definition cannot be stored, it {error}".replace("it nested", "it is nested"))
        )
        return None, findings
    if not trusted:
        from flowforge.model import review

        findings += review.review(workflow, nodes)
    if any(finding.severity == "error" for finding in findings):
        return None, findings
    assembly = _Assembly(workflow, wiring, bound, undoing)
    if not trusted:
        findings += reach.unreachable(wiring, assembly.joins)
    if any(finding.severity == "error" for finding in findings):
        return None, findings
    return assembly.plan(fingerprint, output, key), findings


class _Assembly:
    """Puts the plan together from parts that are known to fit."""

    def __init__(self, workflow: Workflow, wiring: Wiring, bound: list[Bound], undoing: Mapping[int, Bound]) -> None:
        self.workflow, self.wiring, self.bound, self.undoing = workflow, wiring, bound, undoing
        self.nodes = wiring.nodes
        self.rank = {no: at for at, no in enumerate(wiring.order)}
        #: The step that undoes a step, by number.
        self.compensations = {no: len(self.nodes) + at for at, no in enumerate(sorted(undoing))}
        self.successors: list[list[Edge]] = [[] for _ in self.nodes]
        self.skippable = [False] * len(self.nodes)
        self.skippable_dependencies = [0] * len(self.nodes)
        self.joins = [self._join(node) for node in self.nodes]
        self.base = RetryPolicy()
        if workflow.error_handling is not None:
            self.base = workflow.error_handling.policy(self.base)
        if workflow.retry is not None:
            self.base = workflow.retry.policy(self.base)
        self.inherited: dict[int, tuple[RetryPolicy, timedelta, str]] = {}

    def plan(self, fingerprint: str, output: Bound | None, key: Template | None) -> Plan:
        self._link()
        self._mark_skippable()
        fixed = [self._step(node) for node in self.nodes]
        fixed += [self._compensation(self.nodes[no], binds, fixed[no]) for no, binds in sorted(self.undoing.items())]
        bodies = self._bodies(fixed)
        ordinary = fixed[: self.nodes.ordinary]
        workflow = self.workflow
        plain = len(fixed) == len(ordinary)
        signals = self._signals()
        return Plan(
            name=workflow.name,
            digest=fingerprint,
            steps=tuple(fixed) if plain else Steps(fixed, len(ordinary), bodies),
            entries=tuple(step.no for step in ordinary if not step.dependencies),
            last=tuple(step.no for step in ordinary if not step.successors),
            output=None if output is None else output.template,
            output_reads_input=output is not None and output.input,
            output_reads_steps=() if output is None else tuple(sorted(output.steps)),
            timeout=workflow.timeout,
            gate=self._gate(key),
            input_schema=workflow.input_schema,
            numbers={step.id: step.no for step in fixed},
            compensates=bool(self.undoing),
            compensates_on_cancel=bool(self.undoing) and workflow.on_cancel == "compensate",
            signals=signals,
            nests=any(node.step.type == "workflow" for node in self.nodes),
            secrets=frozenset().union(*(_secrets(step) for step in fixed)),
            search=workflow.search,
            listens=signals != frozenset() or any(node.step.type == "approval" for node in self.nodes),
        )

    def _link(self) -> None:
        for no, edges in enumerate(self.wiring.dependencies):
            for source, edge in edges.items():
                self.successors[source].append(Edge(no, edge.branch, edge.order_only, edge.leads_to))

    def _mark_skippable(self) -> None:
        for no in self.wiring.order:
            edges = [edge for edge in self.wiring.dependencies[no].values() if not edge.order_only]
            count = sum(1 for edge in edges if edge.branch or self.skippable[edge.step])
            self.skippable_dependencies[no] = count
            all_of_them = count == len(edges) if self.joins[no] is Join.ANY else True
            self.skippable[no] = count > 0 and all_of_them

    def _join(self, node: Node) -> Join:
        if isinstance(node.step.config, ParallelConfig):
            return Join.ANY
        declared = node.step.join
        parent = node.parent
        while declared is None and parent is not None:
            declared, parent = self.nodes[parent].step.join, self.nodes[parent].parent
        return Join(declared or "auto")

    def _step(self, node: Node) -> StepPlan:
        step, bound = node.step, self.bound[node.no]
        retry, timeout, queue = self._terms(node)
        parallel = isinstance(step.config, ParallelConfig)
        inside = node.children if node.repeated is None else [node.repeated]
        return StepPlan(
            no=node.no,
            id=node.id,
            name=step.name or node.id,
            type=step.type,
            config=bound.template,
            expressions=bound.expressions,
            dependencies=tuple(self.wiring.dependencies[node.no].values()),
            successors=tuple(self.successors[node.no]),
            join=self.joins[node.no],
            skippable_dependencies=self.skippable_dependencies[node.no],
            skippable=self.skippable[node.no],
            branches=self.wiring.branches.get(node.no, _NO_BRANCHES),
            parent=node.foreach if node.parent is None else node.parent,
            children=tuple(node.children),
            handled=frozenset(self.nodes[no].id for no in inside if self._handles(self.nodes[no])),
            wait_for_all=getattr(step.config, "wait_for_all", True),
            retry=RetryPolicy(max_attempts=1) if inside else retry,
            timeout=timeout,
            on_error=self._on_error(node),
            queue=queue,
            reads_input=bound.input,
            reads_steps=tuple(node.children) if parallel else tuple(sorted(bound.steps)),
            reads_run=bound.run,
            reads_item=bound.item,
            touches=self._touches(node),
            rank=self.rank[node.no],
            compensation=self.compensations.get(node.no),
            wakes=step.config.WAKES,
            waits=step.timeout if step.config.WAKES else None,
            foreach=node.foreach,
        )

    def _compensation(self, node: Node, bound: Bound, step: StepPlan) -> StepPlan:
        """Return the step that undoes another one: it has no place in the graph, and its own retries and time."""
        action = node.step.compensate
        assert action is not None
        settings = action.retry or (action.config.retry if "retry" in action.config.TAKEN else None)
        return StepPlan(
            no=self.compensations[node.no],
            id=f"{node.id}:compensate",
            name=action.name or f"undo {step.name}",
            type=action.type,
            config=bound.template,
            expressions=bound.expressions,
            dependencies=(),
            successors=(),
            join=Join.AUTO,
            skippable_dependencies=0,
            skippable=False,
            branches=_NO_BRANCHES,
            parent=None,
            children=(),
            handled=frozenset(),
            wait_for_all=True,
            retry=self.base if settings is None else settings.policy(self.base),
            timeout=_shortest(action.timeout, action.config) or STEP_TIMEOUT,
            on_error=OnError.FAIL,
            queue=action.queue or step.queue,
            reads_input=bound.input,
            reads_steps=tuple(sorted(bound.steps)),
            reads_run=bound.run,
            reads_item=bound.item,
            touches=None,
            rank=step.rank,
            compensates=node.no,
            wakes=action.config.WAKES,
            waits=action.timeout if action.config.WAKES else None,
            foreach=node.foreach,
        )

    def _bodies(self, fixed: list[StepPlan]) -> list[Body]:
        """Give each foreach what it repeats, with numbers for all items that it may have."""
        bodies: list[Body] = []
        start = len(fixed)
        for node in self.nodes:
            if node.repeated is None:
                continue
            assert isinstance(node.step.config, ForeachConfig)
            steps = [fixed[inner.no] for inner in self.nodes if inner.foreach == node.no]
            undoing = [fixed[no] for step in steps if (no := step.compensation) is not None]
            entries = tuple(at for at, step in enumerate(steps) if not step.dependencies)
            body = Body(node.no, (*steps, *undoing), start, len(steps), entries, node.step.config.max_parallel)
            fixed[node.no] = replace(fixed[node.no], body=body)
            bodies.append(body)
            start += MAX_ITEMS * len(body.templates)
        return bodies

    def _signals(self) -> frozenset[str] | None:
        """Return the names of the signals that steps wait for, None if one is only known when its step runs."""
        names: set[str] = set()
        for node in self.nodes:
            if isinstance(node.step.config, WaitSignalConfig):
                name = node.step.config.name or node.id
                if holds_template(name) or node.foreach is not None:
                    return None
                names.add(name)
        return frozenset(names)

    def _touches(self, node: Node) -> frozenset[int] | None:
        """Return what settling a step can touch, None if a skip can start there."""
        behind = [edge.step for edge in self.successors[node.no]]
        if node.foreach is not None and node.parent is None:
            behind.append(node.foreach)
        if node.no in self.wiring.branches or any(self.skippable[no] for no in behind):
            return None
        return frozenset((node.no, *behind))

    def _handles(self, child: Node) -> bool:
        return self._on_error(child) is not OnError.FAIL

    def _terms(self, node: Node) -> tuple[RetryPolicy, timedelta, str]:
        """Retry, timeout and queue: the step's own, else those of the parallel step around it, else the workflow's."""
        step = node.step
        defaults = (self.base, STEP_TIMEOUT, self.workflow.queue or QUEUE)
        around = node.foreach if node.parent is None else node.parent
        retry, timeout, queue = defaults if around is None else self.inherited[around]
        if step.error_handling is not None:
            retry = step.error_handling.policy(retry)
        settings = step.retry or (step.config.retry if "retry" in step.config.TAKEN else None)
        if settings is not None:
            retry = settings.policy(retry)
        # What waits is given its time for the waiting, not for the moments in which it is executed.
        timeout = _shortest(None if step.config.WAKES else step.timeout, step.config) or timeout
        terms = (retry, timeout, step.queue or queue)
        if node.children or node.repeated is not None:
            self.inherited[node.no] = terms
        return terms

    def _on_error(self, node: Node) -> OnError:
        step = node.step
        declared: str | None = step.on_error
        for handling in (step.error_handling, self.workflow.error_handling):
            if declared is None and handling is not None:
                declared = handling.on_error
        return OnError.FAIL if declared in (None, "retry") else OnError(declared)

    def _gate(self, key: Template | None) -> GatePlan | None:
        settings = self.workflow.concurrency
        if settings is None:
            return GatePlan(GATE_LIMIT, None, OnLimit.QUEUE)
        if settings.limit is None or settings.limit == "unlimited":
            return None
        return GatePlan(settings.limit, key, OnLimit(settings.on_limit))


def _secrets(step: StepPlan) -> frozenset[str]:
    return step.config.references.secrets.union(*(one.references.secrets for one in step.expressions.values()))


def _shortest(given: timedelta | None, config: StepConfig) -> timedelta | None:
    """Return the shorter of a step's timeout and that of its configuration, where it is the attempt's."""
    own = getattr(config, "timeout", None) if "timeout" in config.TAKEN else None
    times = [time for time in (given, None if own is None else duration.parse(own)) if time is not None]
    return min(times, default=None)


_NO_BRANCHES: Mapping[str, int | None] = {}
