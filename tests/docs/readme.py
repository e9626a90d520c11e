# SPDX-License-Identifier: Apache-2.0
"""The blocks of README.md that show the output of commands, each below a comment with its name."""

from __future__ import annotations

import re

from serving_network.contracts.build.artifacts import ROOT

README = ROOT / "README.md"


def shown(name: str) -> str:
    """What the README shows for this command."""
    found = _block(name).search(README.read_text())
    assert found is not None, name
    return found[2]


def show(name: str, output: str) -> None:
    """Update the README."""
    README.write_text(_block(name).sub(lambda block: block[1] + output + block[3], README.read_text()))


def _block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- output: {re.escape(name)} -->\n```\n)(.*?)(```\n)", re.DOTALL)
