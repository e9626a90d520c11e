# SPDX-License-Identifier: Apache-2.0
"""A program that uses a chain in its directory."""

from __future__ import annotations

import sys
from pathlib import Path

from serving_network.localchain import EmbeddedChain


def send_until_killed() -> None:
    """Send coins on the chain in the current directory, and report each transaction."""
    chain = EmbeddedChain(state=Path.cwd())
    coins = {"from": chain.accounts[0], "to": "0x" + "77" * 20, "value": "0x1", "gas": "0x5208"}
    while True:
        chain.request("eth_sendTransaction", [coins])
        sys.stdout.write("sent\n")
        sys.stdout.flush()
