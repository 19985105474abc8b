"""`flowforge receipt`: the signed record of a run that has ended, and whether it is still as it was signed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from flowforge_cli import receipt_text, render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, RunArgument, YesOption
from flowforge_cli.text import Span

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.client.receipts import ReceiptKey
    from flowforge.model.verifying import Finding, Verdict

#: Bytes of a file that are read at all: a run of ten thousand steps has a receipt of five megabytes.
MOST = 64 * 1024 * 1024


class RunOrCommand(TyperGroup):
    """Commands, and a run where a command would stand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read `receipt RUN` as `receipt show RUN`."""
        if args and args[0] not in self.commands and not {"-h", "--help"} & set(args):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunOrCommand,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def receipt() -> None:
    """Print the receipt of a run, verify one, or print the keys they are signed with.

    A receipt says what was run, how every step ended, who intervened, and what was undone. `receipt RUN` is short for
    `receipt show RUN`.

    \b
    Examples:
      flowforge receipt @last
      flowforge receipt @last --json > receipt.json
      flowforge receipt verify receipt.json --key receipts.pub
    """  # noqa: D301


@app.command()
def show(
    run: RunArgument,
    number: Annotated[
        int | None, typer.Option("--number", "-n", min=1, help="Which of its receipts, if it was retried; the newest.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Print the receipt of a run that has ended: as text, or with --json exactly as it is signed, with its proof.

    \b
    Examples:
      flowforge receipt @last
      flowforge receipt show @last                   the same
      flowforge receipt 1a2b3c4d --json > receipt.json
      flowforge receipt 1a2b3c4d --number 1          of its first end, before it was retried
    """  # noqa: D301
    session.run(lambda client: _show(client, run, number, json=json))


async def _show(client: AsyncClient, reference: str, number: int | None, *, json: bool) -> None:
    from flowforge.model.receipt import file_text

    document = await client.receipt(reference, number)
    if json:
        render.raw(file_text(document), exact=True)
        return
    render.out(*receipt_text.lines(document, unicode=render.unicode()))
    render.hint(f"\nnext: flowforge receipt {reference} --json > receipt.json · flowforge receipt verify receipt.json")


@app.command()
def verify(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Receipts to verify; - reads one from stdin.")],
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Public keys to trust: a file with what `receipt key` prints, or base64."),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Verify receipts, offline; exit 20 when a single byte was changed since they were signed.

    With --key they must be signed with one of those keys. Without it, the key in the receipt itself is used: that
    finds any change, and not who signed. Receipts that follow each other must be chained to each other.

    \b
    Examples:
      flowforge receipt verify receipt.json --key receipts.pub
      flowforge receipt verify receipts/*.json --key receipts.pub --json
      flowforge receipt @last --json | flowforge receipt verify -
    """  # noqa: D301
    from flowforge.model.verifying import chain_findings, check

    trusted = [] if key is None else _keys(key)
    checked = [(name, check(_content(name), trusted)) for name in files]
    chain = chain_findings(one.document for _, one in checked if one.valid and one.document is not None)
    if json:
        render.document(_verification(checked, chain, trusted=key is not None))
    else:
        _tell(checked, chain)
        if key is None and any(one.valid for _, one in checked):
            render.hint(
                "signed with the key in the receipt itself; --key KEY checks whose it is: flowforge receipt key"
            )
    return ExitCode.FINDINGS if chain or not all(one.valid for _, one in checked) else ExitCode.OK


def _tell(checked: list[tuple[str, Verdict]], chain: list[Finding]) -> None:
    unicode = render.unicode()
    for name, verdict in checked:
        if verdict.valid and verdict.document is not None:
            render.out(receipt_text.verified(verdict.document, unicode=unicode))
        for finding in verdict.findings:
            render.say([Span("error: ", "bad"), f"{name}: {finding.message}"])
    for finding in chain:
        render.say([Span("error: ", "bad"), finding.message])


def _verification(checked: list[tuple[str, Verdict]], chain: list[Finding], *, trusted: bool) -> dict[str, Any]:
    return {
        "schema": "flowforge/receipt-verification/v1",
        "valid": not chain and all(one.valid for _, one in checked),
        "key_trusted": trusted,
        "files": [
            {
                "file": name,
                "valid": one.valid,
                **receipt_text.identity(one.document if one.valid else None),
                "findings": [finding._asdict() for finding in one.findings],
            }
            for name, one in checked
        ],
        "chain": [finding._asdict() for finding in chain],
    }


@app.command()
def key(
    rotate: Annotated[bool, typer.Option("--rotate", help="Sign with a new key from now on.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Print the public keys of receipts as PEM, newest first; the first one is made when it is first asked for.

    Receipts that a former key has signed stay verifiable: hand on all keys, or every one when it is new.

    \b
    Examples:
      flowforge receipt key > receipts.pub
      flowforge receipt key --json | jq '.keys[].id'
      flowforge receipt key --rotate
    """  # noqa: D301
    if rotate and not session.may("sign receipts with a new key from now on?", yes=yes):
        render.say("nothing was changed")
        return ExitCode.OK

    async def work(client: AsyncClient) -> None:
        keys = await (client.rotate_receipt_key() if rotate else client.receipt_keys())
        if json:
            render.document({"schema": "flowforge/receipt-keys/v1", "keys": [one.document() for one in keys]})
            return
        for one in keys:
            render.say(_about(one))
            render.raw(str(one.document()["pem"]), exact=True)

    session.run(work)
    return ExitCode.OK


def _about(key: ReceiptKey) -> str:
    where = {
        "database": "signs; its private half is in the database",
        "setting": "signs; its private half is in the setting receipt_key",
        "elsewhere": "its private half is not here",
        "gone": "no longer signs",
    }
    return f"{key.id}  {where[key.private]}"


def _content(name: str) -> bytes:
    """Return what is to be verified."""
    from flowforge.errors import NotFound, UsageError

    if name == "-":
        data = sys.stdin.buffer.read(MOST + 1)
    else:
        try:
            with Path(name).open("rb") as file:
                data = file.read(MOST + 1)
        except FileNotFoundError:
            raise NotFound(f"there is no file {name}", hint="flowforge receipt RUN --json > receipt.json") from None
        except OSError as error:
            raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    if len(data) > MOST:
        raise UsageError(f"{name} is larger than {MOST:,} bytes, and no receipt")
    return data


def _keys(text: str) -> list[bytes]:
    """Return the public keys in a file, or given as they are."""
    from flowforge.errors import NotFound, UsageError
    from flowforge.model.receipt_key import InvalidKey, public_keys

    path = Path(text)
    try:
        if path.is_file():
            return public_keys(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the keys in {text} cannot be read: {error}") from None
    try:
        return public_keys(text)
    except InvalidKey:
        raise NotFound(
            f"there is no file {text}, and it is no public key", hint="flowforge receipt key > receipts.pub"
        ) from None
