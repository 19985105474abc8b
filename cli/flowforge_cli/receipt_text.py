"""A receipt as lines of text. Pure; what it says is the document's, word by word."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flowforge_cli.text import Row, Span, compact, duration, one_line, state, table

Lines = list[list[Span]]

#: How the words of a receipt look, by those that runs and steps are shown with.
_LOOKS = {
    "EXECUTED": "completed",
    "SUCCESS": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "SKIPPED": "skipped",
    "COMPENSATED": "compensated",
    "NOT_STARTED": "pending",
}
#: Steps that are listed; all are in the document.
MOST_STEPS = 200


def lines(document: Mapping[str, Any], *, unicode: bool) -> Lines:
    """Return the whole receipt, but for digits nobody reads."""
    found = [headline(document, unicode=unicode), *_facts(document), [Span("")], *_steps(document, unicode=unicode)]
    if document["compensation"]["status"] != "none":
        found += [[Span("")], *_compensation(document["compensation"], unicode=unicode)]
    if document["operator_actions"]:
        found += [[Span("")], *_actions(document)]
    return [*found, [Span("")], *_proof(document)]


def headline(document: Mapping[str, Any], *, unicode: bool) -> list[Span]:
    """Return how it ended, what it was, and which run."""
    name = f"{document['workflow_id']}@{document['version']}"
    return [_word(document["status"], unicode=unicode), Span("  "), Span(name, "strong"), Span(f"  {document['run']}")]


def verified(document: Mapping[str, Any], *, unicode: bool) -> list[Span]:
    """Return one line on a receipt that is as it was signed."""
    glyph = "✓" if unicode else "+"
    where = f"receipt {document['receipt_no']} of tenant {document['tenant']}, key {document['proof']['key_id']}"
    what = f"{document['status']}  {document['workflow_id']}@{document['version']}  {document['run']}"
    return [Span(f"{glyph} VALID", "ok"), Span(f"  {what}  {where}")]


def identity(document: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a receipt is recognised by; nulls for one that cannot be trusted."""
    names = ("run", "workflow_id", "version", "status", "installation", "tenant", "receipt_no")
    found = {name: None if document is None else document[name] for name in names}
    proof = None if document is None else document["proof"]
    return found | {name: None if proof is None else proof[name] for name in ("hash", "key_id")}


def _word(status: str, *, unicode: bool) -> Span:
    look = state(_LOOKS.get(status, status), unicode=unicode)
    return Span(f"{look.text.split(' ')[0]} {status}", look.style)


def _facts(document: Mapping[str, Any]) -> Lines:
    began, ended = document["started_at"], document["finished_at"]
    took = "" if began is None else f", took {duration(_time(ended) - _time(began))}"
    facts = [
        ("ended", f"{ended}{took}"),
        ("created", f"{document['created_at']} by {document['trigger']}"),
        ("error", _error(document["error"])),
        ("key", document["idempotency_key"]),
        ("replay of", document["replay_of"]),
        ("version", f"sha256 {document['definition_digest']}"),
        ("input", f"sha256 {document['input_digest']}"),
        ("output", document["output_digest"] and f"sha256 {document['output_digest']}"),
    ]
    return [_fact(name, value) for name, value in facts if value]


def _steps(document: Mapping[str, Any], *, unicode: bool) -> Lines:
    steps = document["steps"]
    rows: list[Row] = [
        [
            step["id"],
            step["type"],
            _word(step["status"], unicode=unicode),
            str(step["attempts"]) if step["attempts"] else "-",
            step["finished_at"] or "-",
            _error(step["error"]) or (f"sha256 {step['output_digest'][:16]}" if step["output_digest"] else ""),
        ]
        for step in steps[:MOST_STEPS]
    ]
    listed = table(("STEP", "TYPE", "OUTCOME", "ATT", "ENDED", "OUTPUT OR ERROR"), rows, indent="  ")
    if len(steps) > MOST_STEPS:
        listed.append([Span(f"  and {len(steps) - MOST_STEPS} more steps; --json has them all")])
    return listed


def _compensation(section: Mapping[str, Any], *, unicode: bool) -> Lines:
    rows: list[Row] = [
        [one["id"], _word(one["status"], unicode=unicode), str(one["attempts"] or "-"), _error(one["error"])]
        for one in section["steps"]
    ]
    found = table(("UNDONE", "OUTCOME", "ATT", "ERROR"), rows, indent="  ")
    if section["not_reversible"]:
        found.append([Span("  not reversible: ", "dim"), Span(one_line(", ".join(section["not_reversible"]), 400))])
    return [[Span(f"  compensation {section['status']}", "bad" if section["status"] == "failed" else "")], *found]


def _actions(document: Mapping[str, Any]) -> Lines:
    rows: list[Row] = [
        [
            one["at"],
            one["type"] + (f" {one['step']}" if one["step"] else ""),
            one["actor"],
            " ".join(filter(None, (one["reason"], compact(one["details"], 120) if one["details"] else ""))),
        ]
        for one in document["operator_actions"]
    ]
    return table(("AT", "INTERVENTION", "BY", "WHY"), rows, indent="  ")


def _proof(document: Mapping[str, Any]) -> Lines:
    proof = document["proof"]
    again = f", receipt {document['run_receipt_no']} of this run" if document["run_receipt_no"] > 1 else ""
    facts = [
        ("receipt", f"{document['receipt_no']} of tenant {document['tenant']}{again}, {document['timestamp']}"),
        ("hash", proof["hash"]),
        ("after", document["previous_hash"]),
        ("replaces", document["supersedes"]),
        ("signed", f"{proof['algorithm']} with key {proof['key_id']}"),
    ]
    return [_fact(name, value) for name, value in facts if value]


def _fact(name: str, value: str) -> list[Span]:
    return [Span(f"  {name:<9}", "dim"), Span(one_line(value, 400))]


def _error(error: Mapping[str, Any] | None) -> str:
    return "" if error is None else one_line(f"{error['code']}: {error['message']}", 160)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
