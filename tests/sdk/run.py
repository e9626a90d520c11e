# SPDX-License-Identifier: Apache-2.0
"""Run the published TypeScript clients against `serving up --gateway`: `make test-sdk`, which needs node and npm.

It is not part of `make test`, which must pass with Python alone.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
UP = ["up", "--gateway", "--port", "0", "--gateway-port", "0", "--json"]


def main() -> int:
    """The exit status of the client."""
    with subprocess.Popen([sys.executable, "-m", "serving_network", *UP], stdout=subprocess.PIPE, text=True) as network:
        try:
            line = network.stdout.readline() if network.stdout else ""
            return subprocess.run(["node", "client.mjs", line], cwd=HERE, check=False).returncode
        finally:
            network.terminate()


if __name__ == "__main__":
    sys.exit(main())
