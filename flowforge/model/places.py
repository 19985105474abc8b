"""What expressions may read where they stand: the roots of the context, and the parts of `run`.

A step sees less than what is repeated or what undoes another one, and more than the run's output or a gate's key.
Invariant: what is allowed here is what the context of an attempt holds (engine/context.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from flowforge.model.diagnostics import Diagnostic, closest
from flowforge.model.expression import Expression
from flowforge.model.scope import Node


@dataclass(frozen=True, slots=True)
class Place:
    """What may be read in one place of a definition."""

    roots: frozenset[str]
    #: What there is of `run`.
    run: frozenset[str] = frozenset()
    #: Whether there is a failure that it is executed for.
    undoing: bool = False

    def missing(self, parsed: Expression) -> Iterator[tuple[Diagnostic, str]]:
        """Yield a finding, and a pattern of what it is about, for each root that cannot be read here."""
        for root in sorted(parsed.roots - self.roots):
            yield Diagnostic("FF015", _FORBIDDEN[root], help=_FOREACH if root == "item" else None), rf"\b{root}\b"

    def missing_of_run(self, parsed: Expression) -> Iterator[tuple[Diagnostic, str]]:
        """Yield the same for each part of the run that is not there, or always null."""
        if not self.run:
            return
        for part in sorted(parsed.of_run - self.run):
            yield self._not_of_run(part), _of_run(part)
        if "error" in parsed.of_run & self.run and not self.undoing:
            yield _NO_FAILURE, _of_run("error")

    def _not_of_run(self, part: str) -> Diagnostic:
        if part == "index":
            return Diagnostic("FF015", "there is no 'run.index' here, only inside a foreach", help=_FOREACH)
        message = f"there is no 'run.{part}'{' here' if part in _RUN else ''}"
        known = ", ".join(f"run.{name}" for name in sorted(self.run))
        return Diagnostic("FF015", message, suggestion=closest(part, self.run), help=f"there is {known}")


def of_step(node: Node) -> Place:
    """Return what the configuration of a step may read."""
    return _STEP if node.foreach is None else _REPEATED


def of_compensation(node: Node) -> Place:
    """Return what the configuration of what undoes a step may read."""
    return replace(of_step(node), undoing=True)


def _of_run(part: str) -> str:
    name = re.escape(part)
    return rf"""\brun(?:\.{name}\b|\[["']{name}["']\])"""


_RUN = frozenset({"id", "workflow", "version", "created_at", "attempt", "error"})
_STEP = Place(frozenset({"input", "steps", "run", "secrets"}), _RUN)
_REPEATED = Place(_STEP.roots | {"item"}, _RUN | {"index"})
OUTPUT = Place(frozenset({"input", "steps", "run"}), frozenset({"id"}))
GATE = Place(frozenset({"input"}))

_FORBIDDEN = {
    "item": "there is no 'item' here, only inside a foreach",
    "secrets": "secrets can be read by steps only",
    "steps": "the gate's key is needed before any step runs; it reads 'input' only",
    "run": "the gate's key is the same for many runs; it reads 'input' only",
}
_FOREACH = "a foreach repeats its steps for the items of a list, and only they read 'item' and 'run.index'"
_NO_FAILURE = Diagnostic(
    "FF023",
    "'run.error' is always null here: only what undoes a step reads the failure",
    "warning",
    help="read it in 'compensate'; what another step failed with is steps.<id>.error",
)
