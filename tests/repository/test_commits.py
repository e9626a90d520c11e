# SPDX-License-Identifier: Apache-2.0
"""The check of commit subjects (`make commits`) accepts the guide's subjects and reports what breaks its rules."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from serving_network.contracts.build.artifacts import ROOT

SCRIPT = ROOT / ".ci" / "commits.py"
faults = runpy.run_path(str(SCRIPT))["faults"]


@pytest.mark.parametrize(
    "subject",
    [
        "Parse CSV by RFC 4180 records",
        "Pass the node's error on to the caller",
        "Need no key to read the network",
        "Bring documentation up to date",
        "Re-read the journal after a restart",
        "Encode, preview and read settlements in one place",
        "Add " + "x" * 68,
    ],
)
def test_a_subject_in_the_imperative_is_accepted(subject: str) -> None:
    assert faults(subject) == []


@pytest.mark.parametrize(
    ("subject", "reported"),
    [
        ("Add " + "x" * 69, "has 73 characters, more than 72"),
        ("parse CSV by records", "does not start with a capitalised verb"),
        ("A service without a book is not asked", "does not start with a capitalised verb"),
        ("Added a reader for CSV", 'starts with "Added": use the imperative'),
        ("Fixes the reader", 'starts with "Fixes": use the imperative'),
        ("Fixing the reader", 'starts with "Fixing": use the imperative'),
        ("Parse CSV by records.", "ends with punctuation"),
        ("wip", "is unfinished work: squash it"),
        ("WIP: parse CSV", "is unfinished work: squash it"),
        ("fixup! Parse CSV", "is unfinished work: squash it"),
        ("squash! Parse CSV", "is unfinished work: squash it"),
        ("", "does not start with a capitalised verb"),
    ],
)
def test_a_subject_that_breaks_a_rule_is_reported(subject: str, reported: str) -> None:
    assert faults(subject) == [reported]


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def check(folder: Path, *base: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *base]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def test_only_the_commits_since_the_base_are_checked(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "an old subject")
    git(tmp_path, "tag", "base")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "Add a file")
    good = check(tmp_path, "base")
    assert (good.returncode, good.stdout) == (0, "Checked 1 commit subject: no fault found.\n")

    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "Added another.")
    bad = check(tmp_path, "base")
    assert bad.returncode == 1
    assert bad.stdout.count("Added another.") == 2
    assert "an old subject" not in bad.stdout

    without_base = check(tmp_path)
    assert without_base.returncode == 1
    assert "an old subject" in without_base.stdout


def test_a_folder_without_commits_is_an_error(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    failed = check(tmp_path)
    assert failed.returncode == 1
    assert "git log failed" in failed.stderr
