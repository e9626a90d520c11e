# SPDX-License-Identifier: Apache-2.0
"""A program whose commands are modules, each imported when it is used, not before. So are the verbs of a noun built.

Importing everything that connects and signs takes longer than most commands run, and so does building every command.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from io import TextIOWrapper
from shutil import get_terminal_size
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_command_name, get_group
from typer.models import CommandInfo

from serving_network.cli.console.output import EXIT_INTERRUPTED, Output, close_output
from serving_network.cli.console.overview import overview
from serving_network.errors import ConfigurationError, InvalidInput, ServingError
from serving_network.money import DECIMALS_OF_UNIT
from serving_network.untrusted import printable, reason_of

EXIT_NO_COMMAND = 2
MOST_SUGGESTED = 3
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""Raised for any command line that a command does not accept; Typer does not export it."""
_NUMBER = re.compile(r"\d[\d_]*(?:\.\d+)?|\.\d+", re.ASCII)
_NEGATIVE = re.compile(r"-\.?\d", re.ASCII)
_EXAMPLE = re.compile(r"Example: (serving .*?)(?:\n\n|$)", re.DOTALL)


class _Light:
    """A command that converts no text and no option that was left out: typer would import pydantic to keep both."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options and arguments."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if "process_value" not in vars(parameter):
                parameter.process_value = partial(_process, parameter, parameter.process_value)
        return parameters


class Verb(_Light, TyperCommand):
    """A command that is built."""


class Program(_Light, TyperGroup):
    """The whole program. Reports the failure of any command and turns it into an exit code.

    A command is a module of `package` by its name: a noun has a Typer `app`, a verb a function of the module's name.
    """

    package: ClassVar[str]
    columns: ClassVar[Sequence[Mapping[str, Mapping[str, str]]]]
    renamed: ClassVar[Mapping[str, str]]
    """What took the place of commands of earlier versions."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for column in self.columns:
            for commands in column.values():
                for name, line in commands.items():
                    self.add_command(TyperCommand(name=name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, imported now that it is used."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _load(f"{self.package}.{name}", str(name)), rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """All commands by role, on one screen."""
        name = ctx.command_path
        formatter.write(f"Usage: {name} [--version] COMMAND ...   Help on a command: {name} COMMAND -h\n")
        formatter.write(overview(self.columns, get_terminal_size().columns))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit(EXIT_NO_COMMAND)
        if args[:1] == ["help"]:
            args = [*args[1:], "-h"]
        try:
            return super().parse_args(ctx, _with_whole_amounts(args))
        except USAGE_ERROR as error:
            raise self._usage_failure(ctx, error, args) from error

    def _usage_failure(self, ctx: Any, error: Any, words: Sequence[str]) -> typer.Exit:
        """A command line that the program does not accept: what is wrong, an example, and where the help is."""
        if not isinstance(error, USAGE_ERROR) or type(error).__name__ == "NoArgsIsHelpError":
            raise error  # it prints the help
        where = error.ctx or ctx
        for old, new in self.renamed.items():
            if isinstance(where.command, TyperGroup) and [*words][: len(old.split())] == old.split():
                failure = InvalidInput(f"serving {old} was renamed.", next_step=new)
                return typer.Exit(Output("--json" in words).failure(failure))
        next_step, cause = f"{where.command_path} -h", None
        if example := _example(where.command):
            next_step += f", or write it like: {example}"
        elif isinstance(where.command, TyperGroup) and not getattr(error, "possibilities", None):
            cause = self._near(where.command, words)
        failure = InvalidInput(_what_is_wrong(error, words), cause=cause, next_step=next_step)
        return typer.Exit(Output("--json" in words).failure(failure))

    def _near(self, group: TyperGroup, words: Sequence[str]) -> str | None:
        """What an unknown command may have been meant to be: one of this group, or of one of the nouns."""
        if group is not self:
            return f"Its commands: {', '.join(group.commands)}."
        nouns = {name: _load(f"{self.package}.{name}", name) for name in self.commands}
        found = [
            f"serving {name} {words[0]}" for name, noun in nouns.items() if words[0] in getattr(noun, "commands", ())
        ]
        return f"There is {' and '.join(found)}." if 0 < len(found) <= MOST_SUGGESTED else None

    def invoke(self, ctx: Any) -> Any:
        words = [*ctx._protected_args, *ctx.args]
        if isinstance(sys.stdout, TextIOWrapper) and _fails_to_write(sys.stdout):
            sys.stdout.reconfigure(errors="replace")  # a locale without UTF-8 has no lines for a tree
        try:
            return super().invoke(ctx)
        except USAGE_ERROR as error:
            raise self._usage_failure(ctx, error, words) from error
        except ServingError as error:
            raise typer.Exit(Output("--json" in words).failure(error)) from error
        except BrokenPipeError:  # the reader of a help text or document has read enough
            close_output()
        except OSError as error:
            raise typer.Exit(Output("--json" in words).failure(_file_trouble(error))) from error
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


class Noun(_Light, TyperGroup):
    """A noun, whose verbs are listed by their first line until one of them is used."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._verbs: dict[str, CommandInfo] = {}

    def add_verb(self, verb: CommandInfo) -> None:
        """Add a verb."""
        name = str(verb.name or get_command_name(verb.callback.__name__))  # type: ignore[union-attr]
        self._verbs[name] = verb
        self.add_command(TyperCommand(name=name, help=inspect.getdoc(verb.callback)))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb itself, built now that it is used."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _built(self._verbs[str(name)]), rest


def _fails_to_write(output: TextIOWrapper) -> bool:
    """Whether a character that the encoding lacks is an error. In the C locale, Python passes on single bytes only."""
    return output.errors == "strict" or (output.errors == "surrogateescape" and output.encoding.lower() != "utf-8")


def _with_whole_amounts(args: Sequence[str]) -> list[str]:
    """The arguments, with an amount and its unit as one of them: people leave out the quotes of "10 gwei"."""
    whole: list[str] = []
    for one in args:
        if whole and one.lower() in DECIMALS_OF_UNIT and _NUMBER.fullmatch(whole[-1]):
            whole[-1] += f" {one}"
        else:
            whole.append(one)
    return whole


def _example(command: Any) -> str | None:
    """The example in a command's help."""
    found = _EXAMPLE.search(command.help or "")
    return found and " ".join(found[1].split())


def _file_trouble(error: OSError) -> ConfigurationError:
    """A file or directory that cannot be used, if no command has reported it more precisely."""
    return ConfigurationError(
        f"{error.filename or 'A file'} cannot be used: {reason_of(error)}.",
        next_step="Check the path, its permissions and the free disk space, then run the command again.",
    )


def _what_is_wrong(error: Any, words: Sequence[str]) -> str:
    if nearest := getattr(error, "possibilities", None):
        suggested = ", ".join(repr(one) for one in sorted(nearest))
        return f"{error.message}. Did you mean {suggested}?"
    negative = next((one for one in words if _NEGATIVE.match(one)), None)
    if negative is not None and getattr(error, "option_name", "") in negative:
        return f"{printable(negative)!r} is not an option, and no amount is negative."
    text = " ".join(error.format_message().split()).replace(": Value error, ", ": ")
    return text if text.endswith(("?", ".")) else f"{text}."


@cache
def _load(module: str, name: str) -> Any:
    """The command in a module, built from its annotations once."""
    found = importlib.import_module(module)
    if not isinstance(app := getattr(found, "app", None), typer.Typer):
        return _built(CommandInfo(name, callback=getattr(found, name)))
    noun: Any = get_group(typer.Typer(cls=Noun, help=app.info.help))
    noun.name, noun.no_args_is_help = name, True
    for verb in app.registered_commands:
        noun.add_verb(verb)
    return noun


@cache
def _built(info: CommandInfo) -> Any:
    alone = typer.Typer(add_completion=False)
    alone.command(info.name, cls=Verb)(info.callback)  # type: ignore[type-var]
    return get_command(alone)


def _process(parameter: Any, process: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    kind = parameter.type_descriptor
    is_kept = value is None or (
        type(value) is str and value.isascii() and kind.annotation is str and kind.parameter_info.parser is None
    )
    is_missing = value is None and parameter.required and not ctx.resilient_parsing
    if not is_kept or is_missing or parameter.multiple or parameter.nargs != 1:
        return process(ctx, value)
    return parameter.callback(ctx, parameter, value) if parameter.callback else value
