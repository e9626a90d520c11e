# SPDX-License-Identifier: Apache-2.0
"""The program's nouns and verbs as a table. A module is imported when its noun or verb is used, not before.

Importing everything that connects and signs takes longer than most commands run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from serving_network.cli.output import EXIT_INTERRUPTED, Output
from serving_network.errors import ConfigurationError, ServingError

EXIT_NO_COMMAND = 2


class Verb(NamedTuple):
    """Where a function, or a noun's Typer app, is, as "module:name", and the line that lists it."""

    where: str
    help: str


class Noun(NamedTuple):
    """A group of verbs, and the line that lists it."""

    verbs: Mapping[str, Verb]
    help: str


class Tree(TyperGroup):
    """A group whose commands come from `members`."""

    members: ClassVar[Mapping[str, Verb | Noun]] = {}

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for name, member in self.members.items():
            listed = _group(name, member) if isinstance(member, Noun) else TyperCommand(name=name, help=member.help)
            self.add_command(listed, name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, imported now that it is used."""
        name, command, rest = super().resolve_command(ctx, args)
        member = self.members.get(str(name))
        if isinstance(member, Verb):
            command = _load(str(name), member)
        return name, command, rest


class Root(Tree):
    """The whole program. Reports the failure of any command and turns it into an exit code."""

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


def _group(name: str, noun: Noun) -> Tree:
    kind = type(name, (Tree,), {"members": noun.verbs})
    group: Tree = kind(name=name, help=noun.help, no_args_is_help=True)
    return group


def _load(name: str, verb: Verb) -> Any:
    module, _, attribute = verb.where.partition(":")
    target: typer.Typer | Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        group = get_group(target)
        group.name, group.no_args_is_help = name, True
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name)(target)
    return get_command(alone)
