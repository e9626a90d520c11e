# SPDX-License-Identifier: Apache-2.0
"""What only one machine has, made up: a gateway's store, what its gateway says, and a user's receipts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serving_network.clients.bills.matching import Coverage, Payment
from serving_network.clients.bills.verdict import Verdict
from serving_network.clients.settled import Settled
from serving_network.clients.settlements import Outcome
from serving_network.explorer.web.pages.bills import Bills
from serving_network.gateway.metrics import Metrics
from serving_network.messages.receipts import Disclosure, Ending, Receipt, SignedReceipt, Source
from serving_network.store.bills import BillIdentity, open_bill
from serving_network.store.opening import Identity, connected
from tests.explorer.web.synthetic import CHAIN_ID, INFERENCE, NOW, PROVIDER, SPELLS, USER

COIN = 10**18
HASH = "0x" + "7" * 64


def store_of_gateway(path: Path) -> Path:
    """A gateway's store: one user, two requests of one coin, one of them cut, and half a coin of balance."""
    with connected(path, Identity(CHAIN_ID, "0x00", INFERENCE, PROVIDER)) as db:
        db.execute(
            "INSERT INTO account VALUES (?, 2, ?, '0', ?, '0', '0', 7, 0)", (USER, str(2 * COIN), str(COIN // 2))
        )
        for number, ending in ((1, Ending.COMPLETE), (2, Ending.CUT_BY_CLIENT)):
            row = (
                number, bytes([number]) * 32, USER, number, "0", 255, "model", str(COIN // 2), str(COIN // 2), "1", "1",
                1, 0, 1, 0, ending, NOW - number, b"", b"", b"", 1, None, PROVIDER, b"", b"", b"",
            )  # fmt: skip
            db.execute(f"INSERT INTO served VALUES ({', '.join('?' * len(row))})", row)
        db.commit()
    return path


def gateway_state() -> dict[str, Any]:
    """What a gateway says of itself, in the form that `serving gateway status` gets."""
    metrics = Metrics()
    for seconds in (0.07, 0.07, 4.0):
        metrics.answered("chat/completions", 200, seconds, paid=True)
    metrics.refused("insufficient_funds")
    server = {"url": "http://127.0.0.1:8000", "available": False, "under_way": 1, "failures": 3}
    return {
        "started": NOW - 3_600, "draining": True, "under_way": 1, "reserved": str(3 * COIN), "model_servers": [server],
        **metrics.as_json(),
    }  # fmt: skip


def _receipt(sequence: int, model: str) -> SignedReceipt:
    receipt = Receipt(
        bytes([sequence]) * 32, PROVIDER, USER, 255, sequence, (sequence - 1) * COIN, COIN // 4, 3 * COIN // 4, 1, 1,
        10, 0, 20, Source.USAGE, Ending.COMPLETE, NOW, bytes(32),
    )  # fmt: skip
    return SignedReceipt(receipt, CHAIN_ID, INFERENCE, bytes(65), Disclosure(model, bytes(32), bytes(32), bytes(32), 1))


def bills_with_receipts(
    directory: Path, asked: Callable[[int], object] = lambda _: None, *, settled: bool = True
) -> Bills:
    """The bill of one provider: two answers, the second of a model with a hostile name. `asked` is told of checks."""
    directory.mkdir(exist_ok=True)
    identity = BillIdentity(CHAIN_ID, INFERENCE, PROVIDER, USER)
    with open_bill(directory / identity.file_name, identity) as bill:
        bill.add([_receipt(1, "llama"), _receipt(2, SPELLS[0])])

    def verify(_: BillIdentity, receipts: Sequence[SignedReceipt]) -> Verdict:
        asked(len(receipts))
        payment = Payment(Settled(USER, None, Outcome(0, 2 * COIN), 76, "0x", HASH), Coverage.COVERED, 1, 2)
        return Verdict(77, 2, 2 * COIN, (), (payment,) if settled else (), (), 0, 0)

    return Bills(directory, CHAIN_ID, USER, verify)
