# SPDX-License-Identifier: Apache-2.0
"""How a wallet gets the coins that it lacks."""

from __future__ import annotations

from typing import Final

from serving_network.chains import LOCAL_CHAIN, how_to_get_coins
from serving_network.money import WEI_PER_COIN, describe

GIVEN_LOCALLY: Final = 100 * WEI_PER_COIN
"""What `serving local fund` gives by default."""


def get_coins(chain_id: int, address: str, missing: int) -> str:
    """The next step for a wallet that lacks `missing` wei, which is rounded up to whole coins."""
    if chain_id == LOCAL_CHAIN and missing <= GIVEN_LOCALLY:
        return how_to_get_coins(chain_id, address)
    return how_to_get_coins(chain_id, address, describe(-(-missing // WEI_PER_COIN) * WEI_PER_COIN))
