"""What single decisions save, each measured on our own contracts with and without it."""

from __future__ import annotations

from benchmarks.gas.network import Network, Step
from benchmarks.gas.operations import Prepare, measure, other_price, other_text, settle_many, transfer_existing
from tests.unit.contract import COIN

TEXT = "t" * 400


def describe_ledger(net: Network) -> Step:
    """The ledger keeps its text in storage words."""
    return Step(net.ledger, "addLedger", (TEXT,), net.account("user"), 50 * COIN)


def plain_ledger(net: Network) -> Step:
    return Step(net.ledger, "addLedger", ("",), net.account("user"), 50 * COIN)


def settle_one(net: Network) -> Step:
    return settle_many(1, 1, net)


def measure_savings(net: Network) -> dict[str, int]:
    """Gas with and without, in pairs."""
    asking = Network(1, neighbours=1, attached=False)
    keeping = Network(1, neighbours=1)

    def difference(dear: Prepare, cheap: Prepare) -> int:
        return measure(net, dear).gas_used - measure(net, cheap).gas_used

    return {
        "settleFeesWithTEE x1 through a front that asks its beacon": measure(asking, settle_one).gas_used,
        "settleFeesWithTEE x1 through a front with a slot of its own": measure(keeping, settle_one).gas_used,
        "transferFund, existing account, through fronts that ask": measure(asking, transfer_existing).gas_used,
        "transferFund, existing account, through fronts with a slot": measure(keeping, transfer_existing).gas_used,
        "400 bytes of text in storage words (addLedger)": difference(describe_ledger, plain_ledger),
        "400 bytes of text as code (addOrUpdateService)": difference(other_text, other_price),
    }
