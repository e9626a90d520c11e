# SPDX-License-Identifier: Apache-2.0
"""Every failure has a class of its kind, an exit code, and a message that can be printed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import serving_network
from serving_network.cli.console.output import Output
from serving_network.errors import NodeFailure, ServingError
from serving_network.untrusted import MAX_PRINTABLE, printable


def kinds(base: type[ServingError] = ServingError) -> Iterator[type[ServingError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_failure_has_an_exit_code_of_its_own_kind() -> None:
    for module in pkgutil.walk_packages(serving_network.__path__, "serving_network."):
        if not module.name.endswith(("__main__", ".build")) and ".build." not in module.name:
            importlib.import_module(module.name)
    assert [kind.__name__ for kind in kinds() if kind.exit_code == 1] == []


@pytest.mark.parametrize("text", ["\x1b[31mred\x1b[0m", "a\rb", "\ud800", "\x9b2J", "\u202eevil", "x" * 10_000, "a\nb"])
def test_untrusted_text_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str], text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= MAX_PRINTABLE + 3
    out = Output()
    out.line(text)
    out.table(("a",), [(text,)], empty="none")
    out.failure(NodeFailure(text, cause=text))
    reported = capsys.readouterr()
    assert (reported.out + reported.err).replace("\n", "").replace("\t", "").isprintable()
