# SPDX-License-Identifier: Apache-2.0
"""Random histories of a provider who settles, and that they would show it if something that protects users were gone.

`make histories` plays many more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

import pytest

from serving_network.settlement import sending
from serving_network.settlement.chain import Head
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import LiveSettlement, UserState
from serving_network.settlement.nonces import NONCE_PER_SECOND, Turn
from serving_network.settlement.resuming import EarlierRuns
from serving_network.settlement.runner import Settlement
from serving_network.settlement.wallet_nonces import WalletNonces
from tests.settlement.histories import play

COUNT, PARTS = 150, 3
FIRST_SEED = 1


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_overcharges_a_user_or_loses_a_request(part: int) -> None:
    seeds = range(FIRST_SEED + part, FIRST_SEED + COUNT, PARTS)
    assert [wrong for seed in seeds if (wrong := play(seed)) is not None] == []


def fresh_nonces() -> AbstractContextManager[Any]:
    """Every settlement gets a nonce of its own, whatever is live."""

    def next_turn(now: float, user: UserState, account: int, _: int, __: Sequence[LiveSettlement]) -> Turn:
        return Turn(max(int(now * NONCE_PER_SECOND), user.last_nonce + 1, account + 1), None)

    return patch.object(sending, "next_turn", next_turn)


def partial_payments_count_as_full() -> AbstractContextManager[Any]:
    """The remainder of a partial payment is signed before that is final."""
    live = Journal.live

    def fully(journal: Journal, user: UserState) -> list[LiveSettlement]:
        return [one._replace(in_full=one.accepted) for one in live(journal, user)]

    return patch.object(Journal, "live", fully)


def blind_to_other_journals() -> AbstractContextManager[Any]:
    """What is signed is sent whatever the wallet and the chain did meanwhile."""

    async def free_nonce(self: WalletNonces, head: Head) -> int:
        mined = await self._chain.wallet_nonce_at(head.number)
        return self._journal.free_nonce(max(mined, await self._chain.wallet_nonce()))

    async def stands(_: WalletNonces, __: Head) -> bool:
        return True

    both = ExitStack()
    both.enter_context(patch.object(WalletNonces, "free_nonce", free_nonce))
    both.enter_context(patch.object(WalletNonces, "stands", stands))
    return both


def blind_to_reorganisations() -> AbstractContextManager[Any]:
    """What was booked stays booked."""

    async def check_blocks(_: EarlierRuns, __: Head) -> None:
        return

    return patch.object(EarlierRuns, "_check_blocks", check_blocks)


def blind_to_unknown_settlements() -> AbstractContextManager[Any]:
    """What another journal settled below a known nonce is not looked for."""

    async def unknown_settlements(_: Settlement, __: object) -> set[str]:
        return set()

    return patch.object(Settlement, "_unknown_settlements", unknown_settlements)


FAULTS: list[tuple[Callable[[], AbstractContextManager[Any]], int]] = [
    (fresh_nonces, 277),
    (partial_payments_count_as_full, 301),
    (blind_to_other_journals, 880),
    (blind_to_reorganisations, 5),
    (blind_to_unknown_settlements, 4029),
]
"""Each with the seed of a history that goes wrong because of it."""


@pytest.mark.parametrize(("fault", "seed"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_histories_find_a_removed_protection(fault: Callable[[], AbstractContextManager[Any]], seed: int) -> None:
    assert play(seed) is None
    with fault():
        assert str(play(seed)).startswith(f"seed {seed}: Charged:")
