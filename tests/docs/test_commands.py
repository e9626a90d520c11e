# SPDX-License-Identifier: Apache-2.0
"""Every command that a page or a failure's next step names is one that the program has, with these options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving_network.contracts.build.artifacts import ROOT
from tests.docs.commands import commands_in, fault

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted((ROOT / "src").rglob("*.py"))
IN_SENTENCE = re.compile(r"serving (?P<rest>[a-z][a-z-]*(?: .*)?)$")
END = re.compile(r"[,;(]|\. |\.$|, then| and (?!\S*=)| or |: ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists(page: Path) -> None:
    faults = {command: found for command in commands_in(page) if (found := fault(command)) is not None}
    assert faults == {}


def test_commands_are_found_and_invalid_ones_are_reported() -> None:
    assert "serving signer revoke PROVIDER" in set(commands_in(ROOT / "docs" / "security" / "incidents.md"))
    assert "serving deploy apply --key deployer --yes" in set(commands_in(ROOT / "docs" / "operations.md"))
    assert any(
        "--map output_tokens" in one and "--users" in one for one in commands_in(ROOT / "docs" / "settlement.md")
    )
    for good in (
        "serving",
        "serving --help",
        "serving ledger",
        "serving help ledger",
        "serving ledger deposit 1.5 coins",
        "serving ledger fund PROVIDER 250 gwei --yes",
        "serving health --strict > file",
        "serving ownership offer ledger TO --what upgrade",
        "serving ownership offer ledger TO --what KIND  # a comment",
    ):
        assert fault(good) is None
    for bad in (
        "serving ledgr show",
        "serving ledger shw",
        "serving health --strickt",
        "serving verify local CONTRACT",
        "serving ownership offer ledger TO --what all",
        "serving signer revoke A B",
        "serving ledger deposit 1.5 pounds",
        "serving --versoin",
        "serving up --port",
    ):
        assert fault(bad) is not None, bad


def next_steps(path: Path) -> Iterator[str]:
    """The texts that a source passes as `next_step`, with X for each interpolated value."""
    source = path.read_text("utf-8")
    if "next_step" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "next_step":
            yield from _texts(node.value)


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(one.value) if isinstance(one, ast.Constant) else "X" for one in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for inner in ast.iter_child_nodes(node):
            yield from _texts(inner)


def test_every_next_step_names_a_command_that_exists() -> None:
    seen = 0
    faults: dict[str, str] = {}
    for path in SOURCES:
        for text in next_steps(path):
            for piece in re.split(r"(?=\bserving )", text):
                found = IN_SENTENCE.match(piece.strip())
                if found is None or re.search(r"\b(?:the|a|this) $", text.partition(piece)[0]):
                    continue
                command = "serving " + END.split(found["rest"])[0].strip()
                seen += 1
                if (wrong := fault(command)) is not None:
                    faults[f"{path.name}: {command}"] = wrong
    assert faults == {}
    assert seen > 40
