# SPDX-License-Identifier: Apache-2.0
"""The operations guide tells the truth: every command in it prints what it says there."""

from pathlib import Path

from .guide import GUIDE, Guide


def test_every_command_of_the_guide_prints_what_it_says(tmp_path: Path) -> None:
    """When it is stale: python -m tests.deployment.guide"""
    text = GUIDE.read_text()
    assert Guide(tmp_path).play(text) == text
