# SPDX-License-Identifier: Apache-2.0
"""`serving completion`: completion scripts for shells."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script

PROGRAM = "serving"


class Shell(StrEnum):
    """The shells that can complete this program's commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")]) -> None:
    """Print the completion script for a shell. To install it: serving --install-completion

    Example: serving completion bash >> ~/.bashrc
    """
    typer.echo(get_completion_script(prog_name=PROGRAM, complete_var="_SERVING_COMPLETE", shell=shell.value))
