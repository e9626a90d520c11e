# SPDX-License-Identifier: Apache-2.0
"""A program whose commands are modules, each imported when it is used, not before. So are the verbs of a noun built.

Importing everything that connects and signs takes longer than most commands run, and so does building every command.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from shutil import get_terminal_size
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_command_name, get_group
from typer.models import CommandInfo

from serving_network.cli.output import EXIT_INTERRUPTED, Output, close_output
from serving_network.cli.overview import overview
from serving_network.errors import ConfigurationError, ServingError

EXIT_NO_COMMAND = 2


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
        formatter.write(f"Usage: {name} [--version] COMMAND ...   Help on a command: {name} COMMAND -h\n\n")
        formatter.write(overview(self.columns, get_terminal_size().columns))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit(EXIT_NO_COMMAND)
        with _suggesting():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        words = [*ctx._protected_args, *ctx.args]
        try:
            with _suggesting():
                return super().invoke(ctx)
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


@contextmanager
def _suggesting() -> Iterator[None]:
    """Suggest the nearest option in place of an unknown one, in the words in which a command is suggested."""
    try:
        yield
    except Exception as error:
        if nearest := getattr(error, "possibilities", None):
            suggested = ", ".join(repr(one) for one in sorted(nearest))
            error.message = f"{error.message}. Did you mean {suggested}?"  # type: ignore[attr-defined]
            error.possibilities = None  # type: ignore[attr-defined]
        raise


def _file_trouble(error: OSError) -> ConfigurationError:
    """A file or directory that cannot be used, if no command has reported it more precisely."""
    return ConfigurationError(
        f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.",
        next_step="Check the path, its permissions and the free disk space, then run the command again.",
    )


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
