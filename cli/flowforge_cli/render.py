"""The only module that writes to stdout and stderr.

Data goes to stdout, everything that is said to a person goes to stderr. All text passes through `safe_text`; colour
is used on terminals only, and never says anything that the words do not. On a terminal no line is wider than it is;
anywhere else none is cut or broken.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, TextIO, TypeVar

from flowforge_cli.fitting import advice, cut, fitted
from flowforge_cli.text import Row, Span, Table, TableLine, json_text, one_line, safe_text

T = TypeVar("T")

_STYLES = {"ok": "32", "bad": "31;1", "warn": "33", "active": "36", "dim": "2", "strong": "1"}

#: Rows, or items of a list, that are written at a time.
TOGETHER = 1_000
#: Cells of the narrowest terminal for which lines are made to fit.
LEAST = 20

Line = str | Sequence[Span | str]


class ReaderGone(Exception):
    """Whoever read our output has seen enough, as `head` does; a broken pipe under a name that Typer lets pass."""


def prepare() -> None:
    """Let no character that a stream cannot hold be an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a person with a capable terminal reads a stream (stdout unless told otherwise)."""
    stream = stream or sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def interactive() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty() and is_terminal(sys.stderr)


def unicode() -> bool:
    """Whether glyphs outside ASCII can be shown."""
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), "UTF-8")
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return encoding == "utf8" and locale not in ("C", "POSIX") and ("UTF" in locale.upper() or "." not in locale)


def room(stream: TextIO | None = None) -> int | None:
    """Return how many cells a line of a stream has (stdout unless told otherwise); None where lines have no end."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return max(LEAST, int(told))
    with suppress(OSError):
        if columns := os.get_terminal_size(stream.fileno()).columns:
            return max(LEAST, columns)
    return None


def fit(line: Line, cells: int) -> Iterator[list[Span]]:
    """Yield the lines that have room in so many cells."""
    if isinstance(line, TableLine):
        yield from fitted(line, cells)
        return
    ready: list[Span] = []
    for part in [line] if isinstance(line, str) else line:
        span = part if isinstance(part, Span) else Span(part)
        first, *rest = safe_text(span.text).expandtabs(4).split("\n")
        ready.append(Span(first, span.style))
        for text in rest:
            yield from fitted(ready, cells)
            ready = [Span(text, span.style)]
    yield from fitted(ready, cells)


def out(*lines: Line) -> None:
    """Write data as text."""
    _write(sys.stdout, lines)


def say(*lines: Line) -> None:
    """Tell the person something."""
    _write(sys.stderr, lines)


def hint(text: str) -> None:
    """Tell the person how to go on: what is said after `next:` is commands, each to be copied as it stands."""
    cells = room(sys.stderr)
    made = [text] if cells is None else advice(text, cells)
    say(*([Span(line, "dim")] for line in made))


def document(value: object) -> None:
    """Write one JSON document."""
    _put(sys.stdout, json_text(value, indent=2 if sys.stdout.isatty() else None) + "\n")


def listing(head: dict[str, Any], name: str, items: Iterable[object]) -> None:
    """Write one JSON document around a list, which may be long."""
    written = ListDocument(head, name)
    for some in _parts(items):
        written.add(some)
    written.end({})


def table(header: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table, which may be long."""
    written = Table(header)
    for some in _parts(rows):
        out(*written.lines(some))


def lines(found: Iterable[Line]) -> None:
    """Write lines, of which there may be many."""
    for some in _parts(found):
        out(*some)


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield what is written at a time."""
    rest = iter(items)
    while some := list(islice(rest, TOGETHER)):
        yield some


class ListDocument:
    """One JSON document around a list that comes in parts: the same text as `document` writes of it all at once.

    What fails on the way leaves a text that is no JSON, so that half a list is not taken for all of it.
    """

    def __init__(self, head: dict[str, Any], name: str) -> None:
        self._indent = 2 if sys.stdout.isatty() else None
        first = json_text({**head, name: []}, indent=self._indent)
        _put(sys.stdout, first.rstrip("\n}").removesuffix("]"))
        self._begun = False

    def add(self, items: Iterable[object]) -> None:
        """Write some more of the list."""
        inner, before = ("", ", ") if self._indent is None else ("\n    ", ",\n    ")
        made = [json_text(item, indent=self._indent).replace("\n", "\n    ") for item in items]
        if made:
            _put(sys.stdout, (before if self._begun else inner) + before.join(made))
            self._begun = True

    def end(self, tail: dict[str, Any]) -> None:
        """Write what stands behind the list."""
        close = "\n  ]" if self._begun and self._indent else "]"
        rest = json_text(tail, indent=self._indent)
        if tail:
            rest = (", " if self._indent is None else ",") + rest.removeprefix("{")
        else:
            rest = "}" if self._indent is None else "\n}"
        _put(sys.stdout, f"{close}{rest}\n")


def json_line(value: object) -> None:
    """Write one document of a stream of them, at once."""
    _put(sys.stdout, json_text(value) + "\n")


def raw(text: str, *, exact: bool = False) -> None:
    """Write text that is data already; *exact* breaks no line, and keeps every character where no terminal reads it."""
    clean = text if exact and not sys.stdout.isatty() else safe_text(text, cap=len(text) + 1)
    if not exact and (cells := room()) is not None:
        clean = "\n".join(_joined(line) for one in clean.splitlines() for line in fit(one, cells))
    _put(sys.stdout, clean if clean.endswith("\n") or not clean else clean + "\n")


def drawing(text: str) -> None:
    """Write lines that belong together as they stand; where a terminal is too narrow they end with an ellipsis."""
    lines, cells = safe_text(text, cap=len(text) + 1).splitlines(), room()
    _put(sys.stdout, "".join(f"{line if cells is None else cut(line, cells)}\n" for line in lines))


def error(message: str, help_text: str | None = None) -> None:
    """Say what went wrong, and what may be done."""
    say([Span("error: ", "bad"), message])
    if help_text:
        say([Span("  help: ", "dim"), help_text])


def warning(message: str) -> None:
    """Say what may go wrong."""
    say([Span("warning: ", "warn"), message])


def diagnostics(findings: Iterable[Any], source: str | None, filename: str) -> None:
    """Show findings of a definition, each with its place."""
    from flowforge.model.diagnostics import render

    for finding in findings:
        first, _, rest = render(finding, source, filename, room=room(sys.stderr)).partition("\n")
        label, _, message = first.partition(": ")
        say([Span(f"{label}: ", "bad" if finding.severity == "error" else "warn"), message])
        if rest:
            say(rest)


def internal(fault: BaseException, *, debug: bool) -> None:
    """Report a fault of FlowForge itself."""
    if debug:
        trace(fault)
    reason = str(fault).strip().splitlines()
    error(
        f"internal error: {type(fault).__name__}{': ' + reason[0] if reason else ''}",
        None if debug else "run it again with --debug for the details, and report it",
    )


def trace(fault: BaseException) -> None:
    """Show where an error came from."""
    _put(sys.stderr, safe_text("".join(traceback.format_exception(fault)), cap=1_000_000))


def abandon_output() -> None:
    """Throw away what is still to be written, now and at exit, where nobody reads any more."""
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def progress(text: str) -> None:
    """Replace the last line on a terminal; say nothing elsewhere."""
    if is_terminal(sys.stderr):
        _put(sys.stderr, f"\r\x1b[2K{cut(one_line(text), (room(sys.stderr) or 80) - 1)}")


def progress_done() -> None:
    """Take the progress line away."""
    if is_terminal(sys.stderr):
        _put(sys.stderr, "\r\x1b[2K")


def confirm(question: str) -> bool:
    """Ask once; only a clear yes is one."""
    _put(sys.stderr, f"{safe_text(question)} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def confirm_number(question: str, number: int) -> bool:
    """Ask once; only the number itself is a yes."""
    _put(sys.stderr, f"{safe_text(question)} Type {number} to go ahead: ")
    return sys.stdin.readline().strip().replace(",", "") == str(number)


def log_to_stderr(level: str, *, tracebacks: bool = True) -> None:
    """Send the log to stderr, one line per event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogFormat(tracebacks=tracebacks))
    for name in ("flowforge", "flowforge_streams"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False


class _LogFormat(logging.Formatter):
    """Lines in which nothing drives a terminal."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%H:%M:%S")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        return safe_text(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging knows
        return super().formatException(ei) if self._tracebacks else f"  {ei[0].__name__}: {ei[1]}"


def console() -> Any:
    """Return a Rich console on stdout, for what moves."""
    from rich.console import Console

    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False, no_color=not _colour(sys.stdout))


def _write(stream: TextIO, lines: Iterable[Line]) -> None:
    colour, cells = _colour(stream), room(stream)
    if cells is not None:
        lines = (line for given in lines for line in fit(given, cells))
    _put(stream, "".join(_paint(line, colour=colour).rstrip() + "\n" for line in lines))


def _joined(line: Iterable[Span]) -> str:
    return "".join(span.text for span in line).rstrip()


def _put(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def _colour(stream: TextIO) -> bool:
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def _paint(line: Line, *, colour: bool) -> str:
    if isinstance(line, str):
        return safe_text(line)
    parts = []
    for part in line:
        span = part if isinstance(part, Span) else Span(part)
        text = safe_text(span.text)
        code = _STYLES.get(span.style) if colour else None
        parts.append(f"\x1b[{code}m{text}\x1b[0m" if code and text else text)
    return "".join(parts)
