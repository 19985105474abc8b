"""JSON text to plain data; positions are scanned only when somebody asks for one.

The standard library's parser is twenty times faster than any that keeps positions, and nearly every text is valid.
"""

from __future__ import annotations

import json
import re
from typing import Any

from flowforge.model.diagnostics import MAX_FINDINGS, Diagnostic
from flowforge.model.source import MAX_DEPTH, MAX_DIGITS, Place, Source, fail

_TOKEN = re.compile(r'[ \t\r\n,:]*("(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s,:{}\[\]"]+)', re.DOTALL)


def parse(text: str, filename: str) -> Source:
    """Parse JSON text; raises DefinitionError when it is not JSON."""
    try:
        _check_depth(text, filename)
        duplicates: list[str] = []
        oddities: list[str] = []
        data = json.loads(
            text,
            object_pairs_hook=lambda pairs: _mapping(pairs, duplicates),
            parse_constant=oddities.append,
            parse_float=lambda number: _finite(number, oddities),
            parse_int=lambda number: _integer(number, oddities),
        )
    except json.JSONDecodeError as error:
        if not text.strip():
            raise fail(Diagnostic("FF006", "the definition is empty"), text, filename, 0, 1) from None
        finding = Diagnostic("FF001", f"the text is not valid JSON: {_spell(error.msg)}", help=_help(text, error.pos))
        raise fail(finding, text, filename, error.pos, error.pos + 1) from None
    source = Source(text, filename, data, lambda: scan(text)[0])
    if duplicates or oddities or "\\u" in text:
        source.findings = [source.at(*finding) for finding in scan(text)[1][:MAX_FINDINGS]]
    return source


def scan(text: str) -> tuple[Place, list[tuple[Diagnostic, int, int]]]:
    """Return where everything stands in a valid JSON text, and what is wrong beyond syntax."""
    findings: list[tuple[Diagnostic, int, int]] = []
    root = Place(0, len(text))
    stack: list[Place] = []
    listed: list[bool] = []
    key: str | int | None = None
    for match in _TOKEN.finditer(text):
        word, start, end = match.group(1), match.start(1), match.end(1)
        if word in ("}", "]"):
            stack[-1].end = end
            stack.pop()
            listed.pop()
            key = None
            continue
        if stack and not listed[-1] and key is None:
            key = str(json.loads(word))
            _check_string(key, start, end, findings)
            if key in stack[-1].keys:
                findings.append((Diagnostic("FF003", f"the key '{key}' is given twice in the same object"), start, end))
            stack[-1].keys[key] = (start, end)
            continue
        place = Place(start, end)
        if stack:
            stack[-1].children[len(stack[-1].children) if listed[-1] else key or ""] = place
        else:
            root = place
        key = None
        if word in ("{", "["):
            stack.append(place)
            listed.append(word == "[")
        elif word[0] == '"':
            if "\\u" in word:
                _check_string(json.loads(word), start, end, findings)
        else:
            _check_number(word, start, end, findings)
    return root, findings


def _check_string(value: str, start: int, end: int, findings: list[tuple[Diagnostic, int, int]]) -> None:
    if "\0" in value:
        findings.append((Diagnostic("FF005", "the text holds a NUL character"), start, end))
    elif re.search("[\ud800-\udfff]", value):
        findings.append((Diagnostic("FF005", "the text holds a lone surrogate, which is not valid text"), start, end))


def _check_number(word: str, start: int, end: int, findings: list[tuple[Diagnostic, int, int]]) -> None:
    oddities: list[str] = []
    if word in {"NaN", "Infinity", "-Infinity"}:
        findings.append((Diagnostic("FF005", f"{word} is not a JSON value"), start, end))
    elif word not in {"true", "false", "null"}:
        if re.fullmatch(r"-?\d+", word):
            _integer(word, oddities)
        else:
            _finite(word, oddities)
        if oddities:
            findings.append((Diagnostic("FF005", "the number is beyond the range of a float"), start, end))


def _mapping(pairs: list[tuple[str, Any]], duplicates: list[str]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        duplicates.append("")
        mapping = dict(reversed(pairs))
    return mapping


def _finite(number: str, oddities: list[str]) -> float:
    value = float(number)
    if value in (float("inf"), float("-inf")):
        oddities.append(number[:40])
        return 0.0
    return value


def _integer(number: str, oddities: list[str]) -> int:
    if len(number) > MAX_DIGITS:
        oddities.append(number[:40])
        return 0
    return int(number)


def _check_depth(text: str, filename: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"?|[{\[]|[}\]]', text, re.DOTALL):
        word = match.group()
        if word in ("{", "["):
            depth += 1
            if depth > MAX_DEPTH:
                finding = Diagnostic("FF002", f"nested deeper than {MAX_DEPTH} levels")
                raise fail(finding, text, filename, *match.span())
        elif word in ("}", "]"):
            depth -= 1


def looks_like_json(text: str) -> bool:
    """Say whether the text was meant as JSON: an opening bracket, and then a quote or a closing one."""
    return re.match(r'\s*[{\[]\s*["\]}]', text) is not None


def _spell(message: str) -> str:
    return message[:1].lower() + message[1:]


def _help(text: str, position: int) -> str | None:
    here = text[position : position + 1]
    if here == "'":
        return "JSON text stands in double quotes"
    if here in ("/", "#"):
        return "JSON has no comments; a YAML definition has"
    if here in ("}", "]") or text[:position].rstrip().endswith(","):
        return "JSON allows no comma after the last entry"
    return None
