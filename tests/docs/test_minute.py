# SPDX-License-Identifier: Apache-2.0
"""What `serving up --gateway` prints works as printed: the example for `openai`, the settlement, the proven bill.

python -m tests.docs.test_minute        update the README
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pexpect

from tests import zygote
from tests.docs.readme import show, shown

COLUMNS = 80
HANGS_AFTER = 600
UP, EXAMPLE, REST = "serving up --gateway", "python example.py", "serving settle"


def minute(home: Path) -> dict[str, str]:
    """What each step prints."""
    process = zygote.Piped(["up", "--gateway", "--port", "0", "--gateway-port", "0"])
    try:
        printed = ""
        while "Press Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, process.communicate(HANGS_AFTER)[1]
            printed += line
        node = re.search(r"JSON-RPC +(\S+)", printed)
        assert node is not None
        run(f"network add local --url {node[1]}", {}, home)
        tail = printed[printed.index("Account 1 sells") :]
        example = tail[tail.index("from openai") : tail.index("To be paid")]
        answer = subprocess.run(
            [sys.executable, "-c", example], capture_output=True, text=True, timeout=HANGS_AFTER, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return {UP: tail, EXAMPLE: answer.stdout.strip() + "\n", REST: "\n".join(commands(tail, home))}
    finally:
        process.close()


def commands(printed: str, home: Path) -> list[str]:
    """Each printed command with its output; variables before it are in its environment."""
    environment: dict[str, str] = {}
    outputs = []
    for line in printed.splitlines():
        if variable := re.match(r"(?:export )?(SERVING_\w+)=(\w+)", line):
            environment[variable[1]] = variable[2]
        elif words := re.match("serving (.*)", line):
            outputs.append(f"$ serving {words[1]}\n{run(words[1], environment, home)}")
    return outputs


def run(words: str, environment: dict[str, str], home: Path) -> str:
    """What a terminal shows for a command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}
    own = {"SERVING_HOME": str(home), "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": str(COLUMNS)}
    terminal = zygote.Terminal(
        shlex.split(words), environment=kept | own | environment, directory=home, columns=COLUMNS
    )
    terminal.expect(pexpect.EOF)
    lines = [line.rstrip() for line in terminal.before.strip().splitlines()]
    terminal.close()
    assert terminal.exitstatus == 0, lines
    return re.sub("\n{3,}", "\n\n", "\n".join([*lines, ""]))


def as_shown(output: str) -> str:
    """With default ports, and without what is new in each run."""
    output = re.sub(r"(http://127\.0\.0\.1):\d+/v1", r"\1:3080/v1", output)
    output = re.sub(r'app-sk-[^"]+', "app-sk-...", output)
    return re.sub(r"/\S+/serving-\w+/", "/tmp/serving-1/", output)


def without_chance(output: str) -> str:
    """Without gas, which differs by a few units."""
    return re.sub(r"\b\d{5}\b|0\.0000\d+ coins$", "GAS", output, flags=re.MULTILINE)


def test_the_minute_goes_as_the_readme_shows(tmp_path: Path) -> None:
    for name, output in minute(tmp_path).items():
        assert without_chance(as_shown(output)) == without_chance(shown(name)), name


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        for key, value in minute(Path(directory)).items():
            show(key, as_shown(value))
