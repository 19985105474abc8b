"""Asking why, as it is typed: the answer as a person reads it and as a script does, and typing what it offers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tests.acceptance.kit.installation import Result, Shell
from tests.acceptance.kit.person import Document, Operator
from tests.support.eventually import eventually_sync

TRY = "    try: "


@dataclass(frozen=True, slots=True)
class Answer:
    """What `flowforge explain` said, on the screen and as a document."""

    shell: Shell
    text: str
    document: Document

    @property
    def first(self) -> Document:
        """The first cause."""
        cause: Document = self.document["causes"][0]
        return cause

    @property
    def chain(self) -> list[Document]:
        """The first cause and what leads to it, nearest first."""
        return chain(self.document)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the chain."""
        return [cause["kind"] for cause in self.chain]

    @property
    def causes(self) -> list[str]:
        """The kinds of all causes, the worst first."""
        return [cause["kind"] for cause in self.document["causes"]]

    @property
    def holders(self) -> list[str]:
        """Who has what the first cause waits for."""
        return [holder["name"] for holder in self.first["holders"]]

    @property
    def ends(self) -> datetime | None:
        """When it moves by itself, as the answer has it."""
        at = self.document["moves_at"]
        return None if at is None else datetime.fromisoformat(at)

    @property
    def offered(self) -> list[str]:
        """The words of the first command that a person is told to try, without that of the program."""
        lines = [line.removeprefix(TRY) for line in self.text.splitlines() if line.startswith(TRY)]
        assert lines, f"nothing to try:\n{self.text}"
        program, *words = shlex.split(lines[0])
        assert program == "flowforge"
        return words

    def says(self, *words: str) -> None:
        """Assert that the answer has these words, on the screen."""
        for one in words:
            assert one in self.text, f"not said: {one}\n{self.text}"

    def follow(self, *more: str, code: int | None = 0, **settings: str) -> Result:
        """Type what it says to try, with more words behind it."""
        return self.shell.type(*self.offered, *more, code=code, **settings)


def ask(shell: Shell, *words: str | UUID) -> Answer:
    """Type `explain`, once to be read and once for scripts; both are the same answer, in words that are whole."""
    typed = ["explain", *map(str, words)]
    answer = Answer(shell, shell.type(*typed).out, shell.type(*typed, "--json").document)
    assert answer.document["schema"] == "flowforge/explanation/v1"
    for cause in chain(answer.document):
        assert _timeless(cause["text"]) in _timeless(answer.text), answer.text
    command = answer.document["command"]
    assert command is None or f"{TRY}{command}" in answer.text.splitlines(), answer.text
    for clumsy in ("None", "()", "''", " ,", ".:", "..", " {", " 1 steps", " 1 runs", " 1 wait ", " 0 "):
        assert clumsy not in answer.text, answer.text
    return answer


def becomes(operator: Operator, run: UUID, kinds: Sequence[str], shell: Shell | None = None) -> Answer:
    """Wait until the answer is a certain chain of causes; then ask."""

    def is_so() -> bool:
        return [cause["kind"] for cause in chain(operator.explained(run))] == list(kinds)

    eventually_sync(is_so, what=f"{run} waits for {list(kinds)}")
    return ask(shell or operator.shell, run)


def _timeless(text: str) -> str:
    """Return a text without its durations, which grow between two commands."""
    return re.sub(r"\b(\d+[dhms])+ ago", "- ago", text)


def chain(document: Document) -> list[Document]:
    """Return the first cause of an answer and what leads to it, nearest first."""
    found, causes = [], document["causes"]
    while causes:
        found.append(causes[0])
        causes = causes[0]["because"]
    return found
