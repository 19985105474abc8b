"""The console script: finds the command, runs it, and turns however it ended into words and an exit code.

Nothing but Typer is imported before a command is known; help of the whole is written from the table below.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

from flowforge_cli import exit_codes, helping, render, session
from flowforge_cli.exit_codes import ExitCode


class Verb(NamedTuple):
    """Where a command lives, and what the list of commands says about it."""

    section: str
    module: str
    summary: str


VERBS: dict[str, Verb] = {
    "run": Verb("Runs", "run", "Start a run of a file or of a published workflow."),
    "ps": Verb("Runs", "ps", "List runs, newest first."),
    "show": Verb("Runs", "show", "Show a run: where it stands, its steps, why it failed."),
    "explain": Verb("Runs", "explain", "Say why a run does not move, or what is stuck altogether."),
    "events": Verb("Runs", "events", "Print the history of a run, or some of it."),
    "logs": Verb("Runs", "show", "Print what the steps of a run wrote."),
    "diff": Verb("Runs", "diff", "Compare two runs: where they part, and in what."),
    "export": Verb("Runs", "capsule", "Write everything known of a run to a file."),
    "import": Verb("Runs", "capsule", "Keep a run of another installation, to be looked at."),
    "receipt": Verb("Runs", "receipt", "Print or verify the signed record of a run that has ended."),
    "watch": Verb("Runs", "watch", "Watch a run until it ends."),
    "wait": Verb("Runs", "watch", "Wait until runs have ended; exit with their outcome."),
    "top": Verb("Runs", "top", "Watch and steer everything on one screen."),
    "cancel": Verb("Runs", "steer", "Ask runs to stop."),
    "retry": Verb("Runs", "steer", "Let failed or cancelled runs go on from what failed."),
    "replay": Verb("Runs", "replay", "Start a run like another one, or say what that would do."),
    "pause": Verb("Runs", "steer", "Hold running runs: nothing new starts."),
    "resume": Verb("Runs", "steer", "Let paused runs go on."),
    "apply": Verb("Runs", "apply", "Carry out a plan that a bulk verb has written."),
    "skip": Verb("Runs", "decide", "Let a run go on without a step."),
    "signal": Verb("Runs", "decide", "Send a signal to a run."),
    "approve": Verb("Runs", "decide", "Approve or reject what a step asks."),
    "incident": Verb("Runs", "incident", "What a person has to look at: list, show, resolve."),
    "notebook": Verb("Runs", "notebook", "Answer a question in a notebook, or as an HTML report."),
    "workflow": Verb("Definitions", "workflow", "Check, publish and look at definitions."),
    "init": Verb("Definitions", "init", "Write an example project."),
    "worker": Verb("Installation", "worker", "Start, list and drain workers."),
    "queue": Verb("Installation", "queue", "See what lies in the queues, and hold them."),
    "doctor": Verb("Installation", "doctor", "Is this installation well? Look, and repair."),
    "db": Verb("Installation", "db", "Look after the schema of the database."),
    "up": Verb("Installation", "servers", "Start the embedded servers."),
    "down": Verb("Installation", "servers", "Stop the embedded servers; data stays."),
    "status": Verb("Installation", "servers", "Show the servers in use."),
    "dev": Verb("Installation", "dev", "Servers, a worker and the event feed in one terminal."),
    "config": Verb("Installation", "config", "Show settings and where each comes from."),
    "demo": Verb("Try it", "demo", "Watch a workflow survive the death of its worker."),
    "bench": Verb("Try it", "bench", "Measure this installation."),
    "version": Verb("Try it", "about", "Print the version."),
    "completion": Verb("Try it", "about", "Print the completion script of a shell."),
}

#: Options of the whole that may also stand behind the verb, and whether a value follows.
GLOBAL = {"--profile": True, "--debug": False, "--no-input": False}


class Verbs(TyperGroup):
    """The verbs, each loaded when it is needed."""

    context_class = helping.HelpContext

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Return every verb, in the table's order."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the verb's module and return its command."""
        if cmd_name not in VERBS:
            return super().get_command(ctx, cmd_name)
        module = import_module(f"flowforge_cli.commands.{VERBS[cmd_name].module}")
        command = typer.main.get_command(module.app)
        if isinstance(command, TyperGroup) and cmd_name in command.commands:
            command = command.commands[cmd_name]
        command.name = cmd_name
        return helping.fit(command)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb, or say which was probably meant."""
        if args and args[0] not in VERBS:
            from difflib import get_close_matches

            from flowforge.errors import UsageError

            close = get_close_matches(args[0], VERBS, 1)
            raise UsageError(
                f"there is no command '{args[0]}'" + (f" (did you mean '{close[0]}'?)" if close else ""),
                hint="flowforge --help",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Write the verbs by section, without loading them."""
        for section in dict.fromkeys(verb.section for verb in VERBS.values()):
            with formatter.section(section):
                rows = [(name, verb.summary) for name, verb in VERBS.items() if verb.section == section]
                formatter.write_dl(rows, col_max=12)


app = typer.Typer(
    cls=Verbs, rich_markup_mode=None, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback(invoke_without_command=True)
def flowforge(
    context: typer.Context,
    profile: Annotated[
        str | None, typer.Option(help="Use section [profile.NAME] of flowforge.toml.", metavar="NAME")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    no_input: Annotated[bool, typer.Option("--no-input", help="Never ask; what would be asked is refused.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Answer every question with yes.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Durable workflows: Postgres holds the truth, Redis Streams carry the work.

    With nothing configured the embedded servers are used, and started when needed.

    \b
    Examples:
      flowforge demo                                 watch a workflow survive a crash
      flowforge init && flowforge run flows/hello.yaml --wait
      flowforge ps --status failed --since 1h        what went wrong lately
      flowforge show @last-failed                    and why
    """  # noqa: D301 - \b keeps Typer from refilling the paragraph
    session.options.profile = profile
    session.options.debug = session.options.debug or debug
    session.options.no_input = no_input
    session.options.yes = yes
    if version:
        from flowforge.version import __version__

        render.out(f"flowforge {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        render.raw(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and leave with its exit code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run a command line; return its exit code, whatever happened."""
    render.prepare()
    session.options.debug = "--debug" in arguments
    command = typer.main.get_command(app)
    if "_FLOWFORGE_COMPLETE" in os.environ:
        from flowforge_cli import shells

        shells.answer(command)
        return ExitCode.OK
    try:
        code = command.main(args=hoist(arguments), prog_name="flowforge", standalone_mode=False)
    except render.ReaderGone:
        render.abandon_output()
        return ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where everything ends
        return report(error)
    return code if isinstance(code, int) else ExitCode.OK


def hoist(arguments: list[str]) -> list[str]:
    """Move the options of the whole to the front, so that they may stand anywhere before `--`."""
    moved: list[str] = []
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name = argument.partition("=")[0]
        if argument == "--":
            kept += [argument, *rest]
        elif name not in GLOBAL:
            kept.append(argument)
        else:
            moved.append(argument)
            if GLOBAL[name] and "=" not in argument:
                moved += [value for value in [next(rest, None)] if value is not None]
    return moved + kept


def report(error: Exception) -> int:
    """Say what went wrong; return the exit code."""
    from flowforge.errors import DefinitionError, FlowforgeError
    from flowforge_streams.errors import StreamError

    if isinstance(error, StreamError):
        error = session.without_redis(error)
    if isinstance(error, DefinitionError) and error.diagnostics:
        session.show_definition_error(error)
        return ExitCode.USAGE
    if isinstance(error, FlowforgeError):
        render.error(error.message, error.hint)
        if session.options.debug:
            render.trace(error)
        return exit_codes.of_error(error)
    if isinstance(error, typer.Abort):
        return ExitCode.INTERRUPTED
    if (format_message := getattr(error, "format_message", None)) is not None:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "flowforge"
        render.error(_first_lower(format_message()), f"{path} --help")
        return int(getattr(error, "exit_code", ExitCode.USAGE))
    render.internal(error, debug=session.options.debug)
    return ExitCode.INTERNAL


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]
