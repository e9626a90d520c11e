# SPDX-License-Identifier: Apache-2.0
"""Find the commands that a text names, and check that the program has them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from serving_network.cli.main import app

IN_TEXT = re.compile(r"`(serving [^`]*)`")
IN_BLOCK = re.compile(r"^(?:\$ | {4})?(?:[A-Z_]+=\S+ )*(serving [a-z-](?:[^\n\\]|\\\n)*)$", re.MULTILINE)
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
SHELL = frozenset({"|", "||", "&&", ";", ">", ">>", "<", "2>", "&"})
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # raised for any invalid command line
PLACEHOLDER = re.compile(r"[A-Z_]+")


def commands_in(path: Path) -> Iterator[str]:
    """Every `serving ...` of a page: between backquotes, in fenced and in indented blocks."""
    text = path.read_text("utf-8")
    blocks = "\n".join(match.group(0) for kind in (FENCE, INDENTED) for match in kind.finditer(text))
    prose = FENCE.sub("", text)
    yield from (match.group(1).replace("\n", " ") for match in IN_TEXT.finditer(prose))
    yield from (match.group(1).replace("\\\n", " ") for match in IN_BLOCK.finditer(blocks))


def fault(text: str) -> str | None:
    """What is wrong with a command as written; None if the program accepts it. Missing arguments are not reported."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in lexer:
        if word in SHELL:
            break
        words.append(word)
    if words[1:] in ([], ["-h"], ["--help"], ["--version"]):
        return None
    command: Any = _program()
    context = typer.Context(command, info_name="serving", **command.context_settings)
    try:
        command.parse_args(context, words[1:])
    except typer.Exit:
        return "the program does not accept it"
    rest = [*context._protected_args, *context.args]
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        try:
            _, command, rest = command.resolve_command(context, rest)
        except USAGE_ERROR as error:
            return str(error)
        context = typer.Context(command, info_name="serving", parent=context)
    if isinstance(command, TyperGroup) and rest not in ([], ["--help"], ["-h"]):
        return f"there is no verb in {' '.join(rest)}"
    try:
        given, too_many, _ = command.make_parser(context).parse_args(list(rest))
    except USAGE_ERROR as error:
        return str(error)
    if too_many:
        return f"{' '.join(too_many)} is too much"
    return next((found for one in command.params if (found := _bad_choice(one, given.get(one.name)))), None)


@cache
def _program() -> Any:
    return get_command(app)


def _bad_choice(parameter: Any, given: Any) -> str | None:
    kind = parameter.type_descriptor.annotation
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        return None
    for value in given if isinstance(given, list) else [given]:
        if isinstance(value, str) and value not in {one.value for one in kind} and not PLACEHOLDER.fullmatch(value):
            return f"{parameter.name} cannot be {value}"
    return None
