# SPDX-License-Identifier: Apache-2.0
"""The README shows what `serving demo` prints.

    python -m tests.docs.test_readme        update the README

Times differ between machines, and gas by a few units with the nonces, which depend on the time. Neither is compared.
"""

from __future__ import annotations

import re

from typer.testing import CliRunner

from serving_network.cli.main import app
from tests.docs.readme import show, shown
from tests.shared import shared

VARYING = re.compile(r"^ *\d+\.\d s|\d+(?= gas a user)", re.MULTILINE)


def demo() -> str:
    """What it prints, which another test looks at, too."""

    def printed() -> str:
        result = CliRunner().invoke(app, ["demo"])
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    return shared("serving demo", printed)


def test_the_demo_prints_what_the_readme_shows() -> None:
    assert VARYING.sub("", demo()) == VARYING.sub("", shown("serving demo"))


if __name__ == "__main__":
    show("serving demo", demo())
