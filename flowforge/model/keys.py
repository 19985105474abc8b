"""Search keys: what a run can be found by, beside the columns of its row.

A key is a name (`label.team`, `input.customer`, `output.total`) and a text. Labels are keys of every run; fields are
keys where the definition declares them (`search: [input.customer]`). Invariant: whoever files a key and whoever asks
for it write its text in the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: Characters of a key's text; a longer one is not filed.
LONGEST = 200
#: Fields that one definition may declare.
MAX_FIELDS = 20

FIELD = re.compile(r"(?:input|output)(?:\.[A-Za-z0-9_-]+)+", re.ASCII)


def text(value: Any) -> str | None:
    """Return a JSON value as the text of a key; None for one that is none: a container, null, or what is too long."""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return value if isinstance(value, str) and len(value) <= LONGEST and "\0" not in value else None


def field(document: Any, path: Iterable[str]) -> Any:
    """Return the value at a path of names, and positions of lists; None where there is none."""
    for name in path:
        if isinstance(document, Mapping):
            document = document.get(name)
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


def of_labels(labels: Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    """Yield the keys of labels."""
    for name, value in (labels or {}).items():
        if (found := text(value)) is not None and len(name) <= LONGEST:
            yield f"label.{name}", found


def of_fields(declared: Iterable[str], source: str, document: Any) -> Iterator[tuple[str, str]]:
    """Yield the keys of the declared fields of a document; *source* is `input` or `output`."""
    for name in declared:
        first, *path = name.split(".")
        if first == source and (found := text(field(document, path))) is not None:
            yield name, found
