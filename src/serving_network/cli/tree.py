"""The command tree as a table: a verb's module is imported when the verb is used, not before.

Importing everything that signs takes longer than most commands run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from serving_network.cli.output import Output
from serving_network.errors import ConfigurationError, ServingError

EXIT_INTERRUPTED = 130


class Verb(NamedTuple):
    """Where a verb's function (or a whole Typer) is, as "module:name", and the line that lists it."""

    where: str
    help: str


class Noun(NamedTuple):
    """A group of verbs, and the line that lists it."""

    verbs: Mapping[str, Verb]
    help: str


class Tree(TyperGroup):
    """A group whose members come from `members`."""

    members: ClassVar[Mapping[str, Verb | Noun]] = {}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature of the base
        return [*self.members, *self.commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What stands for the member in a listing: its name and its line."""
        member = self.members.get(cmd_name)
        if member is None:
            return super().get_command(ctx, cmd_name)
        if isinstance(member, Noun):
            return _group(cmd_name, member)
        return TyperCommand(name=cmd_name, help=member.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The member itself, imported now that it is used."""
        name, command, rest = super().resolve_command(ctx, args)
        member = self.members.get(str(name))
        if isinstance(member, Verb):
            command = _load(str(name), member)
        return name, command, rest


class Root(Tree):
    """The whole program: what fails in any verb is told here, and becomes an exit code."""

    def invoke(self, ctx: Any) -> Any:
        words = [*ctx._protected_args, *ctx.args]
        try:
            return super().invoke(ctx)
        except ServingError as error:
            raise typer.Exit(Output("--json" in words).failure(error)) from error
        except OSError as error:
            raise typer.Exit(Output("--json" in words).failure(_file_trouble(error))) from error
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _file_trouble(error: OSError) -> ConfigurationError:
    """A file or directory that cannot be used, where no verb has a better word for it."""
    return ConfigurationError(
        f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.",
        next_step="Check the path, its permissions and the space on the disk, then run this again.",
    )


def _group(name: str, noun: Noun) -> Tree:
    kind = type(name, (Tree,), {"members": noun.verbs})
    group: Tree = kind(name=name, help=noun.help, no_args_is_help=True)
    return group


def _load(name: str, verb: Verb) -> Any:
    module, _, attribute = verb.where.partition(":")
    target: typer.Typer | Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False)
        target.command(name)(function)
    command = get_command(target)
    command.name = name
    return command
