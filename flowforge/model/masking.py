"""Values that only their owner should see, out of what leaves an installation.

Secrets that steps read through `secrets.NAME` never reach the history. What people put into inputs, and services into
answers, may hold credentials all the same: they are known by the names of the fields that hold them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from flowforge.model.capsule import Capsule
from flowforge.model.documents import Step

MASK = "[redacted]"
#: Words in the name of a field whose value is nobody else's business.
WORDS = (
    *("password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "private_key", "credential"),
    *("authorization", "cookie", "card_number", "cvv", "cvc", "iban", "ssn"),
)


class Mask:
    """Replaces the texts in fields of certain names, and remembers where it did."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        words = [re.escape(_plain(word)) for word in (*WORDS, *more)]
        self._pattern = re.compile("|".join(words))
        self.found: list[str] = []

    def capsule(self, capsule: Capsule) -> Capsule:
        """Return a capsule without such values, its children too; it says where they were."""
        self.found = []
        run = capsule.run
        compensation = replace(run.compensation, steps=tuple(map(self._step, run.compensation.steps)))
        changed = replace(
            run,
            input=self.value(run.input, "run.input"),
            output=self.value(run.output, "run.output"),
            error=self.value(run.error, "run.error"),
            labels=self.value(run.labels, "run.labels"),
            steps=tuple(map(self._step, run.steps or ())),
            compensation=compensation,
        )
        events = tuple(replace(one, data=self.value(one.data, f"events.{one.seq}")) for one in capsule.events)
        definition = self.value(capsule.definition, "definition")
        redacted = tuple(dict.fromkeys(self.found))
        children = tuple(self.capsule(child) for child in capsule.children)
        return replace(capsule, run=changed, events=events, definition=definition, redacted=redacted, children=children)

    def value(self, value: Any, path: str, *, hidden: bool = False) -> Any:
        """Return a JSON value without the texts and numbers in fields of such names."""
        if isinstance(value, dict):
            return {key: self._field(key, item, path, hidden=hidden) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, f"{path}[{no}]", hidden=hidden) for no, item in enumerate(value)]
        # What a definition reads from elsewhere is no value.
        if not hidden or value is None or isinstance(value, bool) or (isinstance(value, str) and "{{" in value):
            return value
        self.found.append(path)
        return MASK

    def _field(self, key: str, item: Any, path: str, *, hidden: bool) -> Any:
        named = self._pattern.search(_plain(key)) is not None
        # A count of tokens is no token.
        counts = isinstance(item, int | float)
        return self.value(item, f"{path}.{key}", hidden=hidden or (named and not counts))

    def _step(self, step: Step) -> Step:
        path = f"run.steps.{step.id}"
        return replace(
            step,
            output=self.value(step.output, f"{path}.output"),
            error=self.value(step.error, f"{path}.error"),
            progress=self.value(step.progress, f"{path}.progress"),
        )


def _plain(name: str) -> str:
    """Return a name as it is compared: `X-Api-Key`, `apiKey` and `api_key` are the same."""
    return re.sub("[^a-z0-9]", "", name.lower())
