"""What each step reads: its configuration as a template and expressions, with every reference resolved.

References are renamed to full ids here, so that what a child calls `steps.mail` is `fan.mail` in the context.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowforge.errors import ExpressionError
from flowforge.model import expression, places, template
from flowforge.model.config import ConditionalConfig, Escalation, StepConfig, TransformConfig
from flowforge.model.definition import ForeachConfig, ParallelConfig, Workflow
from flowforge.model.diagnostics import MAX_FINDINGS, Diagnostic, Path
from flowforge.model.expression import Expression
from flowforge.model.places import Place
from flowforge.model.scope import Node, Nodes, Scope
from flowforge.model.template import Template, TemplateError
from flowforge.model.wiring import labelled


@dataclass(frozen=True, slots=True)
class Bound:
    """A step's templates and expressions, and what they read by number."""

    template: Template
    expressions: Mapping[str, Expression]
    input: bool
    steps: frozenset[int]
    run: bool
    item: bool = False


_EMPTY = template.literal({})
_NOTHING: Mapping[str, Expression] = {}


class Binder:
    """Parses all that is an expression or template; what is wrong goes to the findings."""

    def __init__(self, nodes: Nodes, findings: list[Diagnostic], *, trusted: bool = False) -> None:
        self.nodes, self.findings = nodes, findings
        #: The definition was published: what is only looked for since then is none of its mistakes.
        self.trusted = trusted

    def bind(self, node: Node) -> Bound:
        """Return the bound configuration of a node."""
        return self._config(node.step.config, (*node.path, "config"), node, places.of_step(node))

    def compensation(self, node: Node) -> Bound | None:
        """Return the bound configuration of what undoes a node; it may read every step, whatever became of it."""
        action = node.step.compensate
        if action is None:
            return None
        return self._config(action.config, (*node.path, "compensate", "config"), node, places.of_compensation(node))

    def output(self, workflow: Workflow) -> Bound | None:
        """Return the bound template of the run's output."""
        if workflow.output is None:
            return None
        compiled = self._template(workflow.output, ("output",), self.nodes.top, places.OUTPUT)
        return self._bound(compiled, _NOTHING)

    def gate_key(self, workflow: Workflow) -> Template | None:
        """Return the template of the gate's key; it reads nothing but the input."""
        if workflow.concurrency is None or workflow.concurrency.key is None:
            return None
        path: Path = ("concurrency", "key")
        return self._template(workflow.concurrency.key, path, self.nodes.top, places.GATE)

    def reads_later(self, no: int, source: int) -> None:
        """Note that a node reads one that runs after it, or itself."""
        node, read = self.nodes[no], self.nodes[source]
        what = "its own output" if no == source else f"step '{read.id}', which runs after it"
        names = "|".join(sorted({re.escape(read.step.id), re.escape(read.id)}))
        path: Path = (*node.path, "config")
        given = node.step.config.model_dump(by_alias=True)
        finding = Diagnostic("FF015", f"step '{node.id}' reads {what}")
        self._note(finding, _step_pattern(f"(?:{names})"), path, given)

    # -- parts of a configuration --------------------------------------------------------------------------

    def _config(self, config: StepConfig, path: Path, node: Node, place: Place) -> Bound:
        scope = node.scope
        if isinstance(config, ParallelConfig):
            ids = [self.nodes[child].id for child in node.children]
            made = template.literal({"wait_for_all": config.wait_for_all, "steps": ids})
            return Bound(made, _NOTHING, input=False, steps=frozenset(), run=False)
        fields = _fields(config)
        expressions = _NOTHING
        if isinstance(config, ConditionalConfig):
            expressions = self._conditions(config, path, scope, place)
            fields["branches"] = self._branches(config, scope)
            return self._bound(template.literal(fields), expressions)
        if isinstance(config, TransformConfig):
            expressions = self._expressions({"expression": config.expression}, path, scope, place)
        if isinstance(config, ForeachConfig):
            if isinstance(config.items, str):
                expressions = self._expressions({"items": config.items}, path, scope, place)
            else:
                fields["items"] = config.items
        return self._bound(self._template(fields, path, scope, place), expressions)

    def _conditions(
        self, config: ConditionalConfig, path: Path, scope: Scope, place: Place
    ) -> Mapping[str, Expression]:
        sources: dict[str, str | bool | None] = {"condition": config.condition}
        if isinstance(config.branches, list):
            sources = {f"branches.{no}.when": branch.when for no, branch in enumerate(config.branches)}
        return self._expressions(sources, path, scope, place)

    def _branches(self, config: ConditionalConfig, scope: Scope) -> Any:
        def target(name: str | None) -> dict[str, str | None]:
            no = None if name is None else self.nodes.lookup(name, scope)
            return {"target_step": None if no is None else self.nodes[no].id}

        if isinstance(config.branches, dict):
            return {label: target(branch.target_step) for label, branch in labelled(config)}
        return [target(branch.target_step) for branch in config.branches]

    def _expressions(
        self, sources: Mapping[str, str | bool | None], path: Path, scope: Scope, place: Place
    ) -> Mapping[str, Expression]:
        parsed: dict[str, Expression] = {}
        for key, source in sources.items():
            if source is None:
                continue
            where: Path = (*path, *(int(part) if part.isdigit() else part for part in key.split(".")))
            written, shift = unwrapped(str(source).lower() if isinstance(source, bool) else str(source))
            try:
                found = expression.parse(written)
            except ExpressionError as error:
                at = None if error.offset is None else error.offset + shift
                self._invalid(str(error), where, at)
                continue
            if self._known([found], where, str(source), scope, place):
                parsed[key] = found.renamed(self._names([found], scope))
        return parsed

    def _template(self, value: Any, path: Path, scope: Scope, place: Place) -> Template:
        try:
            compiled = template.compile(value)
        except TemplateError:
            self._each(value, path)
            return _EMPTY
        except RecursionError:
            self.findings.append(Diagnostic("FF002", "the value is nested too deeply", path=path))
            return _EMPTY
        if compiled.expressions and self._known(compiled.expressions, path, value, scope, place):
            names = self._names(compiled.expressions, scope)
            if any(old != new for old, new in names.items()):
                return template.compile(value, names=names)
        return compiled

    def _each(self, value: Any, path: Path) -> None:
        """Note what is wrong with each string and each key of a value."""
        for where, text in _texts(value, path, keys=True):
            if len(self.findings) > MAX_FINDINGS:
                return
            try:
                template.compile({text: None} if where[-1:] == (_KEY,) else text)
            except TemplateError as error:
                inside = where[:-1] if where[-1:] == (_KEY,) else where
                self._invalid(str(error), inside, error.offset)

    def _bound(self, compiled: Template, expressions: Mapping[str, Expression]) -> Bound:
        references = compiled.references
        for parsed in expressions.values():
            references = references | parsed.references
        numbers = (self.nodes.by_id.get(step) for step in references.steps)
        steps = frozenset(no for no in numbers if no is not None)
        return Bound(compiled, expressions, references.input, steps, references.run, references.item)

    # -- references ----------------------------------------------------------------------------------------

    def _names(self, expressions: Iterable[Expression], scope: Scope) -> dict[str, str]:
        found = {step: self.nodes.lookup(step, scope) for parsed in expressions for step in parsed.references.steps}
        return {step: self.nodes[no].id for step, no in found.items() if no is not None}

    def _known(self, expressions: Iterable[Expression], path: Path, value: Any, scope: Scope, place: Place) -> bool:
        """Say whether everything that is read exists; each thing that does not is a finding."""
        if len(self.findings) > MAX_FINDINGS:
            return False
        good = True
        for parsed in expressions:
            for step in sorted(parsed.references.steps):
                if self.nodes.lookup(step, scope) is None:
                    good = False
                    if len(self.findings) > MAX_FINDINGS:
                        return False
                    message, meant = self._unread(step, scope)
                    finding = Diagnostic("FF015", message, suggestion=meant)
                    self._note(finding, _step_pattern(re.escape(step)), path, value)
            for found, pattern in place.missing(parsed):
                good = False
                self._note(found, pattern, path, value)
            for found, pattern in () if self.trusted else place.missing_of_run(parsed):
                good = good and found.severity != "error"
                self._note(found, pattern, path, value)
        return good

    def _unread(self, step: str, scope: Scope) -> tuple[str, str | None]:
        """Return why an expression cannot read a step, and the one that was probably meant."""
        foreach = self.nodes.repeated(step)
        if foreach is None:
            return f"the expression reads unknown step '{step}'", self.nodes.meant(step, scope)
        return f"step '{step}' is repeated by '{foreach}': read steps.{foreach}.output.results", None

    def _note(self, finding: Diagnostic, pattern: str, path: Path, value: Any) -> None:
        """Note a finding where a text first matches a pattern."""
        for where, text in _texts(value, path):
            match = re.search(pattern, text)
            if match is not None:
                found = replace(finding, path=where, inside=(match.start(), len(match.group())))
                if found not in self.findings:
                    self.findings.append(found)
                    return
        if not any(found.message == finding.message and found.path[: len(path)] == path for found in self.findings):
            self.findings.append(replace(finding, path=path))

    def _invalid(self, message: str, path: Path, offset: int | None) -> None:
        inside = None if offset is None else (offset, 1)
        self.findings.append(Diagnostic("FF014", message, path=path, inside=inside, at_key=offset is None))


def unwrapped(source: str) -> tuple[str, int]:
    """Take the optional `{{ }}` or `${{ }}` off a bare expression; also return how many characters went in front."""
    text = source.strip()
    for opening in ("${{", "{{"):
        if text.startswith(opening) and text.endswith("}}") and "{{" not in text[len(opening) :]:
            return text[len(opening) : -2], source.index(opening) + len(opening)
    return source, 0


def _fields(config: StepConfig) -> dict[str, Any]:
    """What the executor gets: everything that was given or has a default, but for what the plan takes up."""
    hidden = config.TAKEN | config.EXPRESSIONS
    given = {**config.__dict__, **(config.__pydantic_extra__ or {})}
    spelt = {"json_body": "json"}
    return {
        spelt.get(key, key): value.model_dump(exclude_none=True) if isinstance(value, Escalation) else value
        for key, value in given.items()
        if value is not None and key not in hidden
    }


def _step_pattern(name: str) -> str:
    return rf"""(?<=steps\.){name}\b|(?<=steps\[["']){name}"""


#: Stands in a path for the key itself, where a key is looked at like a value.
_KEY = "\0key"


def _texts(value: Any, path: Path, *, keys: bool = False) -> Iterator[tuple[Path, str]]:
    pending: list[tuple[Path, Any]] = [(path, value)]
    while pending:
        where, item = pending.pop()
        if isinstance(item, str):
            yield where, item
        elif isinstance(item, dict):
            if keys:
                pending += [((*where, key, _KEY), key) for key in item if "{{" in key]
            pending += reversed([((*where, key), child) for key, child in item.items()])
        elif isinstance(item, list | tuple):
            pending += reversed([((*where, no), child) for no, child in enumerate(item)])
