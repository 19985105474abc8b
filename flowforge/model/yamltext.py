"""YAML 1.2 text to plain data with positions, from parser events.

Works on events because composers recurse and expand: depth, size and aliases are bounded here while reading, so a
hostile text is refused before it costs anything.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from flowforge.model.diagnostics import MAX_FINDINGS, Diagnostic
from flowforge.model.source import MAX_DEPTH, MAX_DIGITS, Place, Source, fail

#: Aliases in one text, and the values they may add together.
MAX_ALIASES = 50
MAX_ALIAS_WEIGHT = 1_000

_CORE_TAGS = {
    "tag:yaml.org,2002:str",
    "tag:yaml.org,2002:map",
    "tag:yaml.org,2002:seq",
}
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def parse(text: str, filename: str) -> Source:
    """Parse YAML text; raises DefinitionError when it cannot be read to the end."""
    return _Composer(text, filename).source()


class _Frame:
    """A mapping or sequence that is being read."""

    __slots__ = ("anchor", "key", "key_ok", "place", "value", "weight")

    def __init__(self, value: dict[str, Any] | list[Any], start: int, anchor: str | None) -> None:
        self.value = value
        self.place = Place(start, start)
        self.anchor = anchor
        #: The key whose value comes next; None when a key comes next.
        self.key: str | None = None
        #: False when the value that comes next belongs to a key that was refused.
        self.key_ok = True
        self.weight = 1


class _Composer:
    def __init__(self, text: str, filename: str) -> None:
        self.text, self.filename = text, filename
        self.findings: list[tuple[Diagnostic, int, int]] = []
        self.frames: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, Place, int]] = {}
        self.aliases = self.alias_weight = 0
        self.root: tuple[Any, Place] | None = None

    def source(self) -> Source:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
        from ruamel.yaml.reader import ReaderError

        try:
            for event in YAML(typ="safe", pure=True).parse(self.text):
                _HANDLERS[type(event).__name__](self, event)
        except MarkedYAMLError as error:
            self._syntax(error)
        except ReaderError as error:
            self._refuse("FF001", "a control character that text files do not hold", error.position, 1)
        except (YAMLError, ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # The scanner leaks such errors on some malformed texts; the text is at fault, not the program.
            lines = str(error).splitlines()
            self._refuse("FF001", f"the text is not valid YAML: {lines[0] if lines else 'unreadable'}", 0, 1)
        if self.root is None:
            self._refuse("FF006", "the definition is empty", 0, 1)
        data, place = self.root
        source = Source(self.text, self.filename, data, lambda: place)
        source.findings = [source.at(*found) for found in self.findings[:MAX_FINDINGS]]
        return source

    # -- events --------------------------------------------------------------------------------------------

    def document_start(self, event: Any) -> None:
        if self.root is not None:
            start = event.start_mark.index
            self._refuse("FF004", "the file holds several documents, a definition is one", start, 3)

    def alias(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        known = self.anchors.get(event.anchor)
        if known is None:
            self._refuse("FF004", f"the alias *{event.anchor} has no anchor before it", start, end - start)
        value, place, weight = known
        self.aliases += 1
        self.alias_weight += weight
        if self.aliases > MAX_ALIASES or self.alias_weight > MAX_ALIAS_WEIGHT:
            message = f"too many YAML aliases: at most {MAX_ALIASES}, repeating {MAX_ALIAS_WEIGHT:,} values"
            self._refuse("FF004", message, start, end - start)
        if len(self.frames) + _depth_of(value) > MAX_DEPTH:
            self._refuse("FF002", f"nested deeper than {MAX_DEPTH} levels", start, end - start)
        self._add(value, Place(start, end, place.keys, place.children), weight, plain=False)

    def scalar(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        tag = None if event.ctag is None else str(event.ctag)
        self._check_tag(tag, start, end)
        plain = event.style is None and tag in (None, "!")
        expects_key = self.frames and isinstance(self.frames[-1].value, dict) and self.frames[-1].key is None
        value: Any = event.value
        if plain and tag is None and not (expects_key and self.frames[-1].key_ok):
            value = self._resolve(event.value, start, end)
        place = Place(start, end)
        if event.anchor:
            self._anchor(event.anchor, value, place, 1)
        self._add(value, place, 1, plain=plain)

    def open_mapping(self, event: Any) -> None:
        self._open({}, event)

    def open_sequence(self, event: Any) -> None:
        self._open([], event)

    def close(self, event: Any) -> None:
        frame = self.frames.pop()
        frame.place.end = event.end_mark.index
        if frame.anchor:
            self._anchor(frame.anchor, frame.value, frame.place, frame.weight)
        self._add(frame.value, frame.place, frame.weight, plain=False)

    def ignore(self, event: Any) -> None:
        pass

    # -- building ------------------------------------------------------------------------------------------

    def _open(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        start = event.start_mark.index
        self._check_tag(None if event.ctag is None else str(event.ctag), start, start + 1)
        if len(self.frames) >= MAX_DEPTH:
            self._refuse("FF002", f"nested deeper than {MAX_DEPTH} levels", start, 1)
        self.frames.append(_Frame(value, start, event.anchor))

    def _add(self, value: Any, place: Place, weight: int, *, plain: bool) -> None:
        if not self.frames:
            self.root = (value, place)
            return
        frame = self.frames[-1]
        frame.weight += weight
        if isinstance(frame.value, list):
            frame.place.children[len(frame.value)] = place
            frame.value.append(value)
        elif frame.key is None and frame.key_ok:
            self._key(frame, value, place, plain=plain)
        else:
            if frame.key_ok and frame.key is not None:
                frame.value[frame.key] = value
                frame.place.children[frame.key] = place
            frame.key, frame.key_ok = None, True

    def _key(self, frame: _Frame, value: Any, place: Place, *, plain: bool) -> None:
        span = (place.start, place.end)
        problem = self._key_problem(value, plain=plain)
        if problem is None and value in frame.value:
            problem = Diagnostic("FF003", f"the key '{value}' is given twice in the same mapping")
        if problem is not None:
            self.findings.append((problem, *span))
            frame.key_ok = False
            return
        frame.key = _BOOL_KEYS.get(value, value) if plain else value
        frame.place.keys[frame.key] = span

    def _key_problem(self, value: Any, *, plain: bool) -> Diagnostic | None:
        if not isinstance(value, str):
            return Diagnostic("FF005", "a key must be text, not a list or mapping")
        if not plain:
            return None
        if value == "<<":
            return Diagnostic("FF004", "merge keys (<<) are not part of YAML 1.2", help="write the keys out")
        if value in _BOOL:
            # Branches are called true and false; nobody quotes them.
            return None
        if value in _NULL or _INT.fullmatch(value) or _BASED.fullmatch(value) or _FLOAT.fullmatch(value):
            return Diagnostic("FF005", f"the key {value or 'null'} is not text", help=f"put it in quotes: '{value}'")
        return None

    def _anchor(self, name: str, value: Any, place: Place, weight: int) -> None:
        self.anchors[name] = (value, place, weight)

    def _resolve(self, text: str, start: int, end: int) -> Any:
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if text[0] not in "-+.0123456789":
            return text
        if _SPECIAL.fullmatch(text):
            finding = Diagnostic("FF005", f"{text} is not a JSON value", help="JSON knows no NaN and no infinity")
            self.findings.append((finding, start, end))
            return None
        number = _number(text)
        if number is None:
            self.findings.append((Diagnostic("FF005", "the number is beyond the range of a float"), start, end))
        return number

    def _check_tag(self, tag: str | None, start: int, end: int) -> None:
        if tag is not None and tag != "!" and tag not in _CORE_TAGS:
            finding = Diagnostic("FF004", f"YAML tags are not accepted: {tag}", help="write the plain value")
            self.findings.append((finding, start, end))

    # -- refusing ------------------------------------------------------------------------------------------

    def _syntax(self, error: Any) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        index = mark.index if mark is not None else 0
        problem = str(error.problem or error.context or "unreadable").strip()
        here = self.text[index : index + 1]
        help_text = None
        if here == "\t" or "\\t" in problem:
            problem, help_text = "a tab where only spaces may indent", "indent with spaces"
        elif here in ("{", "%", "@", "`") or "mapping values are not allowed" in problem:
            help_text = "a text that holds ': ', or starts with { [ % @ `, needs quotes"
        self._refuse("FF001", f"the text is not valid YAML: {problem}", index, 1, help_text)

    def _refuse(self, code: str, message: str, start: int, length: int, help_text: str | None = None) -> NoReturn:
        finding = Diagnostic(code, message, help=help_text)
        raise fail(finding, self.text, self.filename, start, start + length)


def _number(text: str) -> Any:
    """Return the number that a plain scalar is, the text itself when it is none, None when it is too large."""
    if _INT.fullmatch(text):
        return int(text) if len(text) <= MAX_DIGITS else None
    if _BASED.fullmatch(text):
        return int(text, 0) if len(text) < MAX_DIGITS else None
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return text


_BOOL_KEYS = {name: str(value).lower() for name, value in _BOOL.items()}

_HANDLERS = {
    "StreamStartEvent": _Composer.ignore,
    "StreamEndEvent": _Composer.ignore,
    "DocumentStartEvent": _Composer.document_start,
    "DocumentEndEvent": _Composer.ignore,
    "CommentEvent": _Composer.ignore,
    "AliasEvent": _Composer.alias,
    "ScalarEvent": _Composer.scalar,
    "MappingStartEvent": _Composer.open_mapping,
    "MappingEndEvent": _Composer.close,
    "SequenceStartEvent": _Composer.open_sequence,
    "SequenceEndEvent": _Composer.close,
}


def _depth_of(value: Any) -> int:
    """How many containers lie inside each other; values are bounded, so recursion is."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max((_depth_of(child) for child in children), default=0)
