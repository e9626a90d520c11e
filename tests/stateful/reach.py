# SPDX-License-Identifier: Apache-2.0
"""Which errors, events and statuses the histories have reached, and which they have not."""

from __future__ import annotations

from collections.abc import Mapping

from serving_network.contracts import load
from tests.stateful.world import ARTIFACTS

# Declared in an ABI and out of reach of every history, with the reason.
OUT_OF_REACH = {
    "error AccountExists": "the ledger opens an account only where the service says that there is none",
    "error AccountNotEmpty": "the ledger deletes accounts only when the services hold nothing",
    "error InvalidLedgerAddress": "only the initialisation says so, and a front is initialised in its creation",
    "error InvalidServiceType": "declared for clients of the live network; nothing raises it",
    "error InvalidTEESignature": "declared for clients of the live network; nothing raises it",
    "error NotAFrontOfThisBeacon": "a deployment attaches the front, and no history attaches another",
    "error ServiceNotRegistered": "declared for clients of the live network; nothing raises it",
    "error ServiceRegistryLimitReached": "takes 500 registrations: tests/attacks/test_unbounded_lists.py",
    "error TooManyRefunds": "declared for clients of the live network; a sixth refund joins the newest",
    "error TransferToLedgerFailed": "our ledger takes what comes from a registered service",
    "event BatchBalanceUpdated": "declared for clients of the live network; nothing emits it",
    "event ContractInitialized": "a front is initialised in its creation",
    "event FrontAttached": "a deployment attaches the front, and no history attaches another",
    "event Initialized": "a front is initialised in its creation",
}
STATUSES = {
    "settleFeesWithTEE": range(6),
    "settleBatchWithTEE": range(6),
}


def never_reached(seen: Mapping[str, int]) -> list[str]:
    """Every error, event and status that has not come up and could have."""
    declared = {
        f"{entry['type']} {entry['name']}"
        for artifact in {*ARTIFACTS.values(), "UpgradeableBeacon"}
        for entry in load(artifact).abi
        if entry["type"] in ("error", "event")
    }
    declared |= {f"status {status} of {name}" for name, statuses in STATUSES.items() for status in statuses}
    return sorted(one for one in declared if one not in OUT_OF_REACH and not seen.get(one))
