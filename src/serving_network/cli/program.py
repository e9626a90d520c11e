# SPDX-License-Identifier: Apache-2.0
"""A program whose commands are modules, each imported when it is used, not before.

Importing everything that connects and signs takes longer than most commands run.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from shutil import get_terminal_size
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from serving_network.cli.output import EXIT_INTERRUPTED, Output, close_output
from serving_network.cli.overview import overview
from serving_network.errors import ConfigurationError, ServingError

EXIT_NO_COMMAND = 2


class Program(TyperGroup):
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
    if isinstance(app := getattr(found, "app", None), typer.Typer):
        group = get_group(app)
        group.name, group.no_args_is_help = name, True
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name)(getattr(found, name))
    return get_command(alone)
