# SPDX-License-Identifier: Apache-2.0
"""Run ethers.js, viem and Hardhat's network helpers against the embedded chain: `make test-ethers`.

It needs node and npm, and is not part of `make test`, which must pass with Python alone.
"""

from __future__ import annotations

import json
import os
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
    """How many of the programs failed."""
    source = (HERE / "Counter.vy").read_text()
    compiled = compile_code(source, output_formats=["abi", "bytecode"], settings=Settings(evm_version="cancun"))
    contract = {"abi": [*compiled["abi"], TOO_LARGE], "bytecode": compiled["bytecode"]}
    with tempfile.TemporaryDirectory() as scratch, running_server(EmbeddedChain()) as server:
        artifact = Path(scratch) / "Counter.json"
        artifact.write_text(json.dumps(contract))
        programs = (["client.mjs", server.url, server.ws_url, str(artifact)], ["helpers.mjs"])
        environment = os.environ | {"CHAIN_URL": server.url}
        failed = [
            program
            for program, *words in programs
            if subprocess.run(["node", HERE / program, *words], env=environment, check=False).returncode
        ]
        return len(failed)


if __name__ == "__main__":
    sys.exit(main())
