"""The filter language of lists: `state:failed flow:etl since:1h label.team=a error:HTTP_503 input.customer=42 !text`.

Terms stand apart by blanks and all have to hold: `name:value`, `label.NAME=value`, `input.PATH=value`,
`output.PATH=value`, a word, or `!` and a word that must not occur. Quotes keep blanks and signs together. The command
line, the dashboard and bulk verbs read the same language, here; errors say where, and what was probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from flowforge.errors import UsageError
from flowforge.model.diagnostics import closest
from flowforge.model.documents import RunFilter
from flowforge.model.keys import FIELD
from flowforge.model.moment import moment
from flowforge.model.status import RunStatus, StepStatus

#: Characters of an expression.
LONGEST = 2_000

_TOKEN = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NAMED = re.compile(r"([A-Za-z_][A-Za-z_-]*):(.*)", re.DOTALL)
_FIELD = re.compile(r"((?:label|input|output)\.[^=\s\"]+)=(.*)", re.DOTALL)


class FilterError(UsageError):
    """The filter expression makes no sense."""

    def __init__(self, problem: str, text: str, position: int, length: int, *, hint: str | None = None) -> None:
        #: What is wrong, on one line.
        self.problem = problem
        #: Where the term begins, counted from 0, and how long it is.
        self.position, self.length = position, length
        caret = " " * position + "^" * max(1, length)
        flat = re.sub(r"\s", " ", text)
        super().__init__(f"in the filter, at character {position + 1}: {problem}\n  {flat}\n  {caret}", hint=hint)


class _Token(NamedTuple):
    text: str
    at: int


class _Unfit(ValueError):
    """A term cannot be understood; *hint* says how to go on."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.hint = hint


def parse(text: str, now: datetime, start: RunFilter | None = None) -> RunFilter:
    """Return the filter that *text* means, added to what *start* asks for already; FilterError says what is wrong."""
    found = start or RunFilter()
    if len(text) > LONGEST:
        raise UsageError(f"a filter has at most {LONGEST:,} characters")
    for token in _tokens(text):
        try:
            found = _with(found, token.text, now)
        except ValueError as error:
            raise FilterError(str(error), text, token.at, len(token.text), hint=getattr(error, "hint", None)) from None
    return found


def term(found: RunFilter, name: str, value: str, now: datetime) -> RunFilter:
    """Return *found* with one more named term; ValueError says what is wrong with it."""
    return _TERMS[name](found, value, now)


def field(found: RunFilter, pair: str) -> RunFilter:
    """Return *found* with one more `label.NAME=value`, `input.PATH=value` or `output.PATH=value`."""
    match = _FIELD.fullmatch(pair)
    if match is None:
        raise _Unfit(f"'{pair}' is not a field and its value", "write it like input.customer=42 or output.total=9.5")
    name, value = match[1], _plain(match[2])
    if name.startswith("label."):
        return replace(found, labels=(*found.labels, (name.removeprefix("label."), value)))
    if not FIELD.fullmatch(name):
        raise _Unfit(f"'{name}' is not the path of a field", "write it like input.customer or output.lines.0.total")
    return replace(found, fields=(*found.fields, (name, value)))


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise FilterError("the quote is not closed", text, at, len(text) - at)
        end = match.end()
        if end < len(text) and text[end] == '"':
            raise FilterError("the quote is not closed", text, end, len(text) - end)
        yield _Token(match[0], at)
        at = end


def _plain(text: str) -> str:
    """Take the quotes away."""
    return _QUOTED.sub(lambda match: re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL), text)


def _with(found: RunFilter, token: str, now: datetime) -> RunFilter:
    if token.startswith("!"):
        return _excluded(found, token[1:])
    if _FIELD.fullmatch(token):
        return field(found, token)
    match = _NAMED.fullmatch(token)
    if match is None:
        return replace(found, words=(*found.words, _plain(token)))
    name, value = match[1].lower(), _plain(match[2])
    if name not in _TERMS:
        meant = closest(name, _TERMS)
        suggestion = f" (did you mean '{meant}'?)" if meant else ""
        known = ", ".join(sorted(_TERMS))
        raise _Unfit(f"there is no filter '{name}'{suggestion}", f"there are: {known}; quote a word with a colon")
    if not value:
        raise _Unfit(f"'{name}:' needs a value", "write it without a blank behind the colon: state:failed")
    return term(found, name, value, now)


def _excluded(found: RunFilter, token: str) -> RunFilter:
    match = _NAMED.fullmatch(token)
    if match is not None and match[1].lower() in ("state", "status"):
        shut_out = set(run_statuses(_plain(match[2])))
        kept = found.statuses or tuple(RunStatus)
        left = tuple(status for status in kept if status not in shut_out)
        if not left:
            raise _Unfit("no state is left")
        return replace(found, statuses=left)
    if match is not None or _FIELD.fullmatch(token):
        raise _Unfit("only words and states can be excluded", "write !word or !state:completed")
    if not token:
        raise _Unfit("'!' needs a word behind it", "write !word")
    return replace(found, without=(*found.without, _plain(token)))


# -- named terms -------------------------------------------------------------------------------------------


def run_statuses(text: str) -> tuple[RunStatus, ...]:
    """Return statuses of runs, given with commas; `active` means all that have not ended, `done` is completed."""
    found: dict[RunStatus, None] = {}
    for word in (part.strip().lower() for part in text.split(",")):
        if word == "active":
            found |= dict.fromkeys(status for status in RunStatus if not status.final)
        elif word == "done":
            found[RunStatus.COMPLETED] = None
        elif word in [status.value for status in RunStatus]:
            found[RunStatus(word)] = None
        else:
            known = [*(status.value for status in RunStatus), "active", "done"]
            raise _unknown(word, known, "a status of runs")
    return tuple(found)


def _unknown(word: str, known: list[str], what: str) -> _Unfit:
    meant = closest(word, known)
    hint = f"did you mean '{meant}'?" if meant else f"there are: {', '.join(known)}"
    return _Unfit(f"'{word}' is not {what}", hint)


def _state(found: RunFilter, value: str, _: datetime) -> RunFilter:
    wanted = run_statuses(value)
    if found.statuses:
        wanted = tuple(status for status in found.statuses if status in wanted)
        if not wanted:
            raise _Unfit(f"no run is '{value}' and what was asked for before at the same time")
    return replace(found, statuses=wanted)


def _step(found: RunFilter, value: str, _: datetime) -> RunFilter:
    name, sign, state = value.rpartition("=")
    if not sign or not name:
        raise _Unfit(f"'{value}' is not a step and its state", "write it like step:charge=failed")
    known = [status.value for status in StepStatus]
    word = "completed" if state.lower() == "done" else state.lower()
    if word not in known:
        raise _unknown(state, known, "a state of steps")
    return replace(found, steps=(*found.steps, (name, StepStatus(word))))


def _version(found: RunFilter, value: str, _: datetime) -> RunFilter:
    number = value.removeprefix("v").removeprefix("@")
    if not re.fullmatch(r"[0-9]{1,9}", number, re.ASCII) or int(number) == 0:
        raise _Unfit(f"'{value}' is not the number of a version", "write it like version:3")
    return replace(found, version=int(number))


def _flow(found: RunFilter, value: str, now: datetime) -> RunFilter:
    name, sign, version = value.partition("@")
    found = replace(found, workflow=name)
    return _version(found, version, now) if sign else found


def _label(found: RunFilter, value: str, _: datetime) -> RunFilter:
    name, sign, label = value.partition("=")
    if not sign or not name:
        raise _Unfit(f"'{value}' is not a label", "write it like label:team=a or label.team=a")
    return replace(found, labels=(*found.labels, (name, label)))


def _reference(value: str) -> str:
    digits = value.replace("-", "").lower()
    if value not in ("@last", "@last-failed") and not re.fullmatch(r"[0-9a-f]{4,32}", digits):
        raise _Unfit(f"'{value}' is not a run", "give an id, or 4 or more of its first or last digits")
    return value


_Term = Callable[[RunFilter, str, datetime], RunFilter]

_TERMS: dict[str, _Term] = {
    "state": _state,
    "status": _state,
    "flow": _flow,
    "workflow": _flow,
    "version": _version,
    "label": _label,
    "trigger": lambda found, value, _: replace(found, trigger=value),
    "error": lambda found, value, _: replace(found, error=value),
    "step": _step,
    "since": lambda found, value, now: replace(found, since=moment(value, now)),
    "until": lambda found, value, now: replace(found, until=moment(value, now)),
    "replay": lambda found, value, _: replace(found, replay_of=_reference(value)),
    "parent": lambda found, value, _: replace(found, parent=_reference(value)),
}
#: Names of terms, for completion and help.
NAMES = tuple(_TERMS)
