# SPDX-License-Identifier: Apache-2.0
"""A hatch build hook that compiles the contracts into the wheel."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileContracts(BuildHookInterface):  # type: ignore[type-arg]
    """Runs the contracts' build from its own folder, because the package's dependencies are not installed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if version != "editable":
            folder = Path(self.root) / "src/serving_network/contracts"
            subprocess.run([sys.executable, "-m", "build"], cwd=folder, check=True)
