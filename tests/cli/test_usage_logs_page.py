# SPDX-License-Identifier: Apache-2.0
"""docs/usage-logs.md: each command prints what the page shows, and each sample settles.

With USAGE_LOGS=write in the environment, the output in the page is updated.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Final

from serving_network.contracts.build.artifacts import ROOT
from serving_network.usage_logs.columns import presets
from tests.cli.conftest import Terminal
from tests.cli.test_walkthroughs import answers

PAGE: Final = ROOT / "docs" / "usage-logs.md"
SAMPLES: Final = ROOT / "tests" / "settlement" / "usage_logs"
CONSOLE: Final = re.compile(r"```console\n(.*?)```", re.DOTALL)


def commands() -> list[str]:
    return re.findall(r"^\$ serving (.*)$", "\n".join(CONSOLE.findall(PAGE.read_text())), re.MULTILINE)


def test_the_page(tmp_path: Path) -> None:
    home = shutil.copytree(SAMPLES, tmp_path / "home")

    def play(block: re.Match[str]) -> str:
        shown = []
        for line in block[1].splitlines():
            if line.startswith("$ "):
                shown += [line, *answers(shlex.split(line.removeprefix("$ serving ")), home)]
        return "```console\n" + "\n".join(shown) + "\n```"

    kept = PAGE.read_text()
    played = CONSOLE.sub(play, kept)
    if os.environ.get("USAGE_LOGS") == "write":
        PAGE.write_text(played)
    else:
        assert played == kept, f"{PAGE} shows other answers"


def test_the_page_has_a_command_for_every_preset() -> None:
    shown = {words[words.index("--preset") + 1] for one in commands() if "--preset" in (words := shlex.split(one))}
    assert shown == set(presets())


def test_a_check_suggests_a_preset_and_names_the_rejects(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    log = SAMPLES / "langfuse_observations.jsonl"
    shown = terminal("settle", "--check", str(log), code=10).err
    assert "The columns are those of --preset langfuse." in shown
    assert "Line 1 is rejected: missing column: user" in shown
    result = terminal("settle", "--check", str(log), "--json", code=10).json
    assert (result["suggested_preset"], len(result["rejects"])) == ("langfuse", 2)
    failed = terminal("settle", "--check", str(SAMPLES / "burstgpt.csv"), code=2)
    assert f"serving settle --check {SAMPLES / 'burstgpt.csv'} --preset burstgpt" in " ".join(failed.err.split())
    assert terminal("settle", "--check", code=2).err
    assert not list(tmp_path.glob("settlements/*"))


def test_a_check_prints_no_control_characters_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "u.jsonl"
    log.write_text(json.dumps({"id": "r", "user": "\x1b[31m\n\u202eforged", "time": 1, "input_tokens": 1}) + "\n")
    shown = Terminal(tmp_path)("settle", "--check", str(log), code=10).out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
