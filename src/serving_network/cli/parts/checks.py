# SPDX-License-Identifier: Apache-2.0
"""A list of checks: printed, and turned into an exit code."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from serving_network.cli.console.output import EXIT_CHECK_FAILED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from serving_network.cli.console.output import Output
    from serving_network.clients.doctor import Check, Role

MARKS = {True: ("ok", "green"), False: ("FAILS", "bold red"), None: ("later", "yellow")}


def report(out: Output, checks: Sequence[Check], you: Collection[Role] = ()) -> None:
    """Print the checks and the next step, with the role that takes it if it is not one of yours.

    Ends the command with exit code 9 if a check failed.
    """
    from serving_network.clients.doctor import first_failure

    failed = first_failure(checks)
    next_step = failed.next_step if failed else None
    if failed and failed.by not in (None, *you):
        next_step = f"The {failed.by} runs: {next_step}"
    out.result(
        {
            "passed": failed is None,
            "next_step": next_step,
            "checks": [asdict(one) for one in checks],
        }
    )
    width = max(len(one.name) for one in checks)
    for one in checks:
        mark, style = MARKS[one.passed]
        out.line(f"{mark:<6} {one.name:<{width}}  {one.detail}", style)
    if failed is None:
        out.line("All checks passed.", "bold")
        return
    out.line(f"Next   {next_step}", "bold")
    raise typer.Exit(EXIT_CHECK_FAILED)
