"""In what two JSON values differ, place by place; the one mechanism behind every comparison that is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from flowforge.model.json import Json


class Change(NamedTuple):
    """One place in which two values differ."""

    #: As it is written in an expression: `items[2].price`; of lists of things with ids, `steps[charge].config.url`.
    path: str
    #: changed, added or removed.
    kind: str
    before: Json = None
    after: Json = None

    def document(self) -> dict[str, Any]:
        """Return the change as an element of `changes`."""
        return self._asdict()


def changes(before: Json, after: Json, path: str = "") -> list[Change]:
    """Return every place in which two values differ, in the order of the first value."""
    return list(_changes(before, after, path))


def _changes(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_mappings(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        one, two = _by_id(before), _by_id(after)
        if one is not None and two is not None:
            yield from _of_mappings(one, two, path, "[{}]")
        else:
            yield from _of_lists(before, after, path)
    elif before != after or isinstance(before, bool) is not isinstance(after, bool):
        yield Change(path, "changed", before, after)


def _of_mappings(before: dict[str, Any], after: dict[str, Any], path: str, form: str = ".{}") -> Iterator[Change]:
    for key in (*before, *(key for key in after if key not in before)):
        place = (path + form.format(key)).removeprefix(".")
        if key not in after:
            yield Change(place, "removed", before[key])
        elif key not in before:
            yield Change(place, "added", None, after[key])
        else:
            yield from _changes(before[key], after[key], place)


def _of_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Change]:
    for no in range(max(len(before), len(after))):
        place = f"{path}[{no}]"
        if no >= len(after):
            yield Change(place, "removed", before[no])
        elif no >= len(before):
            yield Change(place, "added", None, after[no])
        else:
            yield from _changes(before[no], after[no], place)


def _by_id(values: list[Any]) -> dict[str, Any] | None:
    """Return the things of a list by their ids, if each has one and they differ."""
    found = {value["id"]: value for value in values if isinstance(value, dict) and isinstance(value.get("id"), str)}
    return found if len(found) == len(values) else None
