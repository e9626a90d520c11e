# SPDX-License-Identifier: Apache-2.0
"""Calls of the old version of the network, recognised by their selectors, and what to do instead.

The old fine-tuning service had the signer of a settlement in the user's account: users confirmed it by
acknowledgeProviderSigner, providers gave it as the fourth argument of their registration, and it stood in the
signed message and in VerifierInput. Now it belongs to the registered service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils import keccak

from serving_network.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping

QUOTA = "(uint256,uint256,uint256,uint256,string)"


@dataclass(frozen=True)
class OldCall:
    """A function of the old version, as it was written, and what takes its place."""

    signature: str
    instead: str


OLD_CALLS = (
    OldCall(
        "acknowledgeProviderSigner(address,address)",
        "A user confirms by funding: serving ledger fund PROVIDER AMOUNT (0 is enough on an existing account), "
        "or by hand: serving account acknowledge PROVIDER --service fine-tuning",
    ),
    OldCall(
        f"addOrUpdateService(string,{QUOTA},uint256,address,bool,string[])",
        "The signer is now the last argument (url, quota, price, occupied, models, teeSigner), and a first "
        "registration sends the stake with it: serving service register OFFER --service fine-tuning",
    ),
    OldCall(
        "settleFees((string,bytes,bytes,uint256,address,bytes,uint256,address))",
        "VerifierInput has no providerSigner any more, and neither has the signed message: "
        "serving deliverable settle TASK",
    ),
    OldCall(
        "settleFees((uint256,bytes,bytes,uint256,address,bytes,uint256,address))",
        "A deliverable is named by a text id, not by its index, and VerifierInput has no providerSigner any more: "
        "serving deliverable settle TASK",
    ),
    OldCall(
        "acknowledgeDeliverable(address,uint256)",
        "A deliverable is named by a text id, not by its index: serving deliverable acknowledge PROVIDER ID",
    ),
    OldCall(
        "addDeliverable(address,bytes)",
        "A deliverable has a text id: serving deliverable add USER ID HASH",
    ),
)


class OldStyleCall(ContractError):
    """A call that only the old version of the network understands. `call` says which and what to do instead."""

    def __init__(self, call: OldCall) -> None:
        super().__init__(
            f"{call.signature.partition('(')[0]} in this form belongs to the old version of the network.",
            next_step=call.instead,
        )
        self.call = call


def recognise_call(data: bytes) -> OldCall | None:
    """The old call that this calldata makes, if it is one."""
    return _BY_SELECTOR.get(data[:4])


def recognise_typed_data(typed_data: Mapping[str, Any]) -> str | None:
    """What to change in typed data (EIP-712) of the old form; None when nothing is old about it."""
    types = typed_data.get("types")
    fields = types.get("VerifierMessage") if isinstance(types, dict) else None
    if isinstance(fields, list) and any(
        isinstance(one, dict) and one.get("name") == "providerSigner" for one in fields
    ):
        return "Leave providerSigner out of VerifierMessage: the signer is the one that the service registered."
    return None


_BY_SELECTOR = {keccak(text=call.signature)[:4]: call for call in OLD_CALLS}
