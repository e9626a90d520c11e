# SPDX-License-Identifier: Apache-2.0
"""The pool of pending transactions, by sender and nonce. A higher fee replaces a transaction."""

from __future__ import annotations

from serving_network.errors import RpcError

from .transactions import INVALID_INPUT, DecodedTransaction
from .world import StateReader

PRICE_BUMP_PERCENT = 10


class Pool:
    """The pending transactions. A transaction after a gap in the nonces stays until the gap is filled."""

    def __init__(self) -> None:
        self._by_sender: dict[bytes, dict[int, DecodedTransaction]] = {}
        self._by_hash: dict[bytes, DecodedTransaction] = {}

    def __len__(self) -> int:
        return len(self._by_hash)

    def copy(self) -> Pool:
        twin = Pool()
        twin._by_sender = {sender: dict(waiting) for sender, waiting in self._by_sender.items()}
        twin._by_hash = dict(self._by_hash)
        return twin

    def get(self, transaction_hash: bytes) -> DecodedTransaction | None:
        return self._by_hash.get(transaction_hash)

    def all(self) -> list[DecodedTransaction]:
        """Every pending transaction, in the order of arrival."""
        return list(self._by_hash.values())

    def add(self, transaction: DecodedTransaction) -> None:
        """Add a transaction. Raises RpcError if it is known, or its fee is too low to replace another one."""
        if transaction.hash in self._by_hash:
            raise RpcError(INVALID_INPUT, "already known")
        waiting = self._by_sender.setdefault(transaction.sender, {})
        former = waiting.get(transaction.nonce)
        if former is not None:
            if not _outbids(transaction, former):
                raise RpcError(INVALID_INPUT, "replacement transaction underpriced")
            del self._by_hash[former.hash]
        waiting[transaction.nonce] = transaction
        self._by_hash[transaction.hash] = transaction

    def remove(self, transaction_hash: bytes) -> bool:
        """Remove a transaction. Returns False if it was not pending."""
        transaction = self._by_hash.pop(transaction_hash, None)
        if transaction is None:
            return False
        waiting = self._by_sender[transaction.sender]
        del waiting[transaction.nonce]
        if not waiting:
            del self._by_sender[transaction.sender]
        return True

    def forget_used_nonces(self, state: StateReader) -> None:
        """Remove the transactions that can no longer be mined, because their nonce was used."""
        for transaction in self.all():
            if transaction.nonce < state.account(transaction.sender).nonce:
                self.remove(transaction.hash)

    def next_nonce(self, sender: bytes, mined: int) -> int:
        """The first nonce from `mined` on that no pending transaction has."""
        waiting = self._by_sender.get(sender, {})
        while mined in waiting:
            mined += 1
        return mined

    def executable(self, state: StateReader, base_fee: int, gas_limit: int) -> list[DecodedTransaction]:
        """The transactions that blocks with this base fee and gas limit could contain now.

        They are sorted by tip, highest first, and for each sender by nonce.
        """
        queues = [self._run(sender, state, base_fee, gas_limit) for sender in self._by_sender]
        queues = [queue for queue in queues if queue]
        if len(queues) == 1:
            return queues[0]
        chosen: list[DecodedTransaction] = []
        positions = [0] * len(queues)
        for _ in range(sum(map(len, queues))):
            open_queues = [i for i, queue in enumerate(queues) if positions[i] < len(queue)]
            best = max(open_queues, key=lambda i: (queues[i][positions[i]].effective_tip(base_fee), -i))
            chosen.append(queues[best][positions[best]])
            positions[best] += 1
        return chosen

    def _run(self, sender: bytes, state: StateReader, base_fee: int, gas_limit: int) -> list[DecodedTransaction]:
        account = state.account(sender)
        waiting = self._by_sender[sender]
        run: list[DecodedTransaction] = []
        nonce, balance = account.nonce, account.balance
        while (transaction := waiting.get(nonce)) is not None:
            if transaction.max_fee_per_gas < base_fee or transaction.cost > balance or transaction.gas > gas_limit:
                break
            run.append(transaction)
            nonce, balance = nonce + 1, balance - transaction.cost
        return run


def _outbids(new: DecodedTransaction, old: DecodedTransaction) -> bool:
    def enough(offer: int, former: int) -> bool:
        return offer > former and offer * 100 >= former * (100 + PRICE_BUMP_PERCENT)

    return enough(new.max_fee_per_gas, old.max_fee_per_gas) and enough(
        new.max_priority_fee_per_gas, old.max_priority_fee_per_gas
    )
