"""Lines of spans without their styles."""

from __future__ import annotations

from collections.abc import Iterable

from flowforge.model.text import Span


def words(spans: Iterable[Span]) -> list[str]:
    """Return the texts of a line."""
    return [span.text for span in spans]
