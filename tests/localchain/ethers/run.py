# SPDX-License-Identifier: Apache-2.0
"""Run ethers.js against the embedded chain: `make test-ethers`, which needs node and npm.

It is not part of `make test`, which must pass with Python alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from vyper import compile_code
from vyper.compiler.settings import Settings

from serving_network.localchain import EmbeddedChain
from serving_network.localchain.server import running_server

HERE = Path(__file__).parent
TOO_LARGE = {
    "type": "error",
    "name": "TooLarge",
    "inputs": [{"name": "number", "type": "uint256"}, {"name": "limit", "type": "uint256"}],
}


def main() -> int:
    """The exit status of the client."""
    source = (HERE / "Counter.vy").read_text()
    compiled = compile_code(source, output_formats=["abi", "bytecode"], settings=Settings(evm_version="cancun"))
    contract = {"abi": [*compiled["abi"], TOO_LARGE], "bytecode": compiled["bytecode"]}
    with tempfile.TemporaryDirectory() as scratch, running_server(EmbeddedChain()) as server:
        artifact = Path(scratch) / "Counter.json"
        artifact.write_text(json.dumps(contract))
        return subprocess.run(
            ["node", HERE / "client.mjs", server.url, server.ws_url, artifact], check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
