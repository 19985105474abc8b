"""From a definition to a plan: every step numbered, wired and parsed, or every reason why not.

A child's final failure never fails the run by itself: its join does, as `wait_for_all` says. The plan therefore
leaves a child's `on_error` as declared, and the engine goes by `parent`. The join node of a parallel step has
`join: any` (it is skipped only when all its children are) and one attempt (its children have the retries, for which
the parallel step's own settings are the default). Everything here is linear in steps and edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from flowforge.errors import DefinitionError
from flowforge.model import duration, reach
from flowforge.model.bindings import Binder, Bound
from flowforge.model.canonical import canonical
from flowforge.model.definition import ParallelConfig, Workflow
from flowforge.model.diagnostics import Diagnostic
from flowforge.model.json import InvalidJson, digest
from flowforge.model.plan import Edge, GatePlan, Join, OnError, OnLimit, Plan, StepPlan
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
    binder = Binder(nodes, findings)
    bound = [binder.bind(node) for node in nodes]
    output = binder.output(workflow)
    key = binder.gate_key(workflow)
    reads = {node.no: binds.steps for node, binds in zip(nodes, bound, strict=True) if binds.steps}
    for no, source in wiring.read(reads):
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
    assembly = _Assembly(workflow, wiring, bound)
    if not trusted:
        findings += reach.unreachable(wiring, assembly.joins)
    if any(finding.severity == "error" for finding in findings):
        return None, findings
    return assembly.plan(fingerprint, output, key), findings


class _Assembly:
    """Puts the plan together from parts that are known to fit."""

    def __init__(self, workflow: Workflow, wiring: Wiring, bound: list[Bound]) -> None:
        self.workflow, self.wiring, self.bound = workflow, wiring, bound
        self.nodes = wiring.nodes
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
        steps = tuple(self._step(node) for node in self.nodes)
        workflow = self.workflow
        return Plan(
            name=workflow.name,
            digest=fingerprint,
            steps=steps,
            entries=tuple(step.no for step in steps if not step.dependencies),
            last=tuple(step.no for step in steps if not step.successors),
            output=None if output is None else output.template,
            output_reads_input=output is not None and output.input,
            output_reads_steps=() if output is None else tuple(sorted(output.steps)),
            timeout=workflow.timeout,
            gate=self._gate(key),
            input_schema=workflow.input_schema,
            numbers=self.nodes.by_id,
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
            parent=node.parent,
            children=tuple(node.children),
            handled=frozenset(self.nodes[no].id for no in node.children if self._handles(self.nodes[no])),
            wait_for_all=step.config.wait_for_all if isinstance(step.config, ParallelConfig) else True,
            retry=RetryPolicy(max_attempts=1) if parallel else retry,
            timeout=timeout,
            on_error=self._on_error(node),
            queue=queue,
            reads_input=bound.input,
            reads_steps=tuple(node.children) if parallel else tuple(sorted(bound.steps)),
            reads_run=bound.run,
            touches=self._touches(node),
        )

    def _touches(self, node: Node) -> frozenset[int] | None:
        """Return what settling a step can touch, None if a skip can start there."""
        behind = [edge.step for edge in self.successors[node.no]]
        if node.no in self.wiring.branches or any(self.skippable[no] for no in behind):
            return None
        return frozenset((node.no, *behind))

    def _handles(self, child: Node) -> bool:
        return self._on_error(child) is not OnError.FAIL

    def _terms(self, node: Node) -> tuple[RetryPolicy, timedelta, str]:
        """Retry, timeout and queue: the step's own, else those of the parallel step around it, else the workflow's."""
        step = node.step
        defaults = (self.base, STEP_TIMEOUT, self.workflow.queue or QUEUE)
        retry, timeout, queue = defaults if node.parent is None else self.inherited[node.parent]
        if step.error_handling is not None:
            retry = step.error_handling.policy(retry)
        settings = step.retry or (step.config.retry if "retry" in step.config.TAKEN else None)
        if settings is not None:
            retry = settings.policy(retry)
        own = getattr(step.config, "timeout", None) if "timeout" in step.config.TAKEN else None
        if step.timeout is not None or own is not None:
            given = [step.timeout] if step.timeout is not None else []
            timeout = min([*given, *([duration.parse(own)] if own is not None else [])])
        terms = (retry, timeout, step.queue or queue)
        if node.children:
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


_NO_BRANCHES: Mapping[str, int | None] = {}
