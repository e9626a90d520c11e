# SPDX-License-Identifier: Apache-2.0
"""An example application: it spreads a monthly budget evenly over several AI providers."""

from collections.abc import Sequence

from serving_network.clients import User
from serving_network.money import WEI_PER_COIN


def spread(user: User, budget: int, providers: Sequence[str]) -> dict[str, int]:
    """Deposit `budget` wei and transfer the same whole coins to each provider; the rest stays in the ledger."""
    user.deposit(budget)
    share = budget // len(providers) // WEI_PER_COIN * WEI_PER_COIN
    for provider in providers:
        user.fund(provider, share)
    return dict.fromkeys(providers, share)
