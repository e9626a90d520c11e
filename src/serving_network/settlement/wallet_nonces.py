# SPDX-License-Identifier: Apache-2.0
"""Choose the nonce of the wallet's next transaction.

A transaction of the wallet that is not in the journal may carry settlements of the same users, from another journal or
an older copy. While it may still take effect, no nonce is free.
"""

from __future__ import annotations

from typing import Final

from serving_network.counting import count
from serving_network.errors import TransactionFailure
from serving_network.settlement.chain import Head, SettlementChain
from serving_network.settlement.journal import Journal

MOST_WAITING: Final = 1000
"""How many transactions of the wallet are looked at that wait to be mined; a node may claim any number."""


class UnknownTransactions(TransactionFailure):
    """The wallet has transactions that are not in the journal and may still take effect."""

    exit_code = 8


class WalletNonces:
    """The nonces of the provider's wallet."""

    def __init__(self, chain: SettlementChain, journal: Journal) -> None:
        self._chain = chain
        self._journal = journal
        self.final = 0
        """The number of the block that this run treats as the newest final one."""
        self.released: set[int] = set()
        """Batches that this run has decided. Their users may be signed for again, and their nonces used again."""

    async def free_nonce(self, head: Head) -> int:
        """The wallet's next nonce as of the block `head`.

        Accounts are compared as of the same block, and `stands` is checked before anything signed for this nonce is
        sent. The accounts therefore reflect everything that the wallet sent with lower nonces.

        Raises UnknownTransactions while a transaction of the wallet that is not in the journal may still take effect:
        another journal may have sent it, with settlements of the same users.
        """
        mined = await self._chain.wallet_nonce_at(head.number)
        after_waiting = max(mined, await self._chain.wallet_nonce())
        waiting = range(mined, min(after_waiting, mined + MOST_WAITING))
        strange = sorted(set(waiting) - self._journal.sent_nonces(mined))
        if strange:
            raise UnknownTransactions(
                f"{count(len(strange), 'transaction')} of {self._chain.provider} {'is' if len(strange) == 1 else 'are'}"
                f" pending that this journal did not send, with nonces from {strange[0]} on.",
                cause="They may settle the same requests: another journal of this provider, or an older copy.",
                next_step="Wait until they are mined and run again, or end them with serving settlement cancel.",
            )
        await self._check_mined(head, mined)
        # A nonce that nothing uses any more comes first. If it stayed free below the new transaction, an unknown
        # transaction of the same users could take it.
        return self._journal.free_nonce(after_waiting, self.released)

    async def stands(self, head: Head) -> bool:
        """Whether this block is still part of the chain."""
        return await self._chain.block_hash(head.number) == head.hash

    async def _check_mined(self, head: Head, mined: int) -> None:
        """Raise UnknownTransactions if a settlement that is not in the journal is in a block that is not final.

        After a reorganisation, it may pay more than it did there.
        """
        journal = self._journal
        passed = journal.wallet_nonce_passed(self.final)
        unknown = set(range(passed, mined)) - journal.mined_nonces(passed)
        if not unknown or head.number <= self.final:
            return
        hashes = journal.sent_hashes(self.final)
        for nonce, transaction in sorted((await self._chain.calls_since(self.final)).items()):
            if nonce in unknown and transaction not in hashes:
                raise UnknownTransactions(
                    f"Transaction {transaction} of {self._chain.provider} is a settlement that this journal did not"
                    " send, and its block is not final.",
                    cause="Another journal of this provider, an older copy or another program sent it.",
                    next_step="Run again when the block is final.",
                )
