"""An application of yours: it spreads a monthly budget evenly over several AI providers."""

from collections.abc import Sequence

from serving_network.clients import User
from serving_network.money import WEI_PER_COIN


def spread(user: User, budget: int, providers: Sequence[str]) -> dict[str, int]:
    """Put `budget` wei into the user's ledger and give each provider the same share; the rest stays in the ledger."""
    user.deposit(budget)
    share = budget // len(providers) // WEI_PER_COIN * WEI_PER_COIN
    for provider in providers:
        user.fund(provider, share)
    return dict.fromkeys(providers, share)
