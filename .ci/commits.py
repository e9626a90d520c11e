# SPDX-License-Identifier: Apache-2.0
"""Check the subjects of commits: `make commits`.

python .ci/commits.py [BASE]

Checks the commits that are in HEAD and not in BASE (by default origin/main), merges excepted; the last 10 commits
where BASE does not exist. The exit status is 1 if a subject breaks a rule.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

LONGEST = 72
WITHOUT_BASE = 10
# Verbs in the imperative that end like other forms.
IMPERATIVE = re.compile(r"[A-Z]\w*(eed|ss)|Embed|Shed|Bring|String|Focus|Alias|Bias")


def faults(subject: str) -> list[str]:
    """What is wrong with a subject, a phrase for each rule that it breaks."""
    first = subject.partition(" ")[0].removesuffix(",")
    found = []
    if len(subject) > LONGEST:
        found.append(f"has {len(subject)} characters, more than {LONGEST}")
    if re.match(r"(fixup|squash|amend)!|wip\b", subject, re.IGNORECASE):
        found.append("is unfinished work: squash it")
    elif not re.fullmatch(r"[A-Z][a-z-]+", first):
        found.append("does not start with a capitalised verb")
    elif re.search(r"(ed|ing|s)$", first) and not IMPERATIVE.fullmatch(first):
        found.append(f'starts with "{first}": use the imperative')
    if subject.endswith((".", "!", "…")):
        found.append("ends with punctuation")
    return found


def commits(base: str) -> list[tuple[str, str]]:
    """The short hash and the subject of each commit to check."""
    known = _git("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}").returncode == 0
    chosen = [f"{base}..HEAD"] if known else [f"--max-count={WITHOUT_BASE}", "HEAD"]
    listed = _git("log", "--no-merges", "--format=%h %s", *chosen)
    if listed.returncode != 0:
        sys.exit(f"git log failed: {listed.stderr.strip()}")
    return [(commit, subject) for commit, _, subject in (line.partition(" ") for line in listed.stdout.splitlines())]


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the subjects of the commits that are not in BASE.")
    parser.add_argument("base", nargs="?", default="origin/main", metavar="BASE")
    checked = commits(parser.parse_args().base)
    broken = [f"{commit} {fault}:\n    {subject}\n" for commit, subject in checked for fault in faults(subject)]
    sys.stdout.write("".join(broken))
    if broken:
        sys.stdout.write("Reword them with git rebase --interactive; CONTRIBUTING.md has the rules.\n")
    else:
        sys.stdout.write(f"Checked {len(checked)} commit subject{'' if len(checked) == 1 else 's'}: no fault found.\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
