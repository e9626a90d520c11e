# SPDX-License-Identifier: Apache-2.0
"""What the programs know of certain chains, by chain id."""

from __future__ import annotations

from typing import Final

LOCAL_CHAIN: Final = 31337
"""The chain id of development nodes, which are set back, restarted and reorganised at will, and whose time travels."""
FAUCETS: Final = {16602: "https://faucet.0g.ai"}
"""The faucet of each test network, by chain id."""


def how_to_get_coins(chain_id: int, address: str, amount: str | None = None) -> str:
    """The next step for a wallet that lacks coins, or this `amount` of coins."""
    if chain_id == LOCAL_CHAIN:
        return f"serving local fund {address}" + (f" '{amount}'" if amount else "")
    if chain_id in FAUCETS:
        return f"Get {amount or 'coins'} for {address} from {FAUCETS[chain_id]}, then try again."
    return f"Send {amount or 'coins'} to {address}, then try again."
