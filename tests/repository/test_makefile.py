# SPDX-License-Identifier: Apache-2.0
"""`make help` lists every target, and every target is declared as one that makes no file of its name."""

from __future__ import annotations

import re
import subprocess

from serving_network.contracts.build.artifacts import ROOT

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


def test_help_lists_every_target_once_under_a_topic() -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    listed = re.findall(r"^  make (\S+) +\S", printed, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == TARGETS
    assert len({len(columns) for columns in re.findall(r"^  make \S+ +", printed, re.MULTILINE)}) == 1
    topics = [line for line in printed.splitlines() if line and not line.startswith(" ")]
    assert topics == re.findall(r"^##@ (.*)", MAKEFILE, re.MULTILINE)


def test_every_target_is_phony() -> None:
    declared = re.search(r"^\.PHONY:((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)
    assert declared is not None
    assert set(declared[1].replace("\\", "").split()) == TARGETS


def test_every_target_that_a_page_names_exists() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]
    named = {
        name
        for page in pages
        if "node_modules" not in page.parts
        for name in re.findall(r"(?:`|^ {4})make ([a-z][a-z-]*)", page.read_text("utf-8"), re.M)
    }
    assert named
    assert named - TARGETS == set()
