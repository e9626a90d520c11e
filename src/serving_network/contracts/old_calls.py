# SPDX-License-Identifier: Apache-2.0
"""Recognise calls of the old version of the network by their selectors, and say what to do instead.

The old fine-tuning service kept the signer of settlements in the user's account: users confirmed it with
acknowledgeProviderSigner, providers passed it as the fourth argument of their registration, and the signed message
and VerifierInput contained it. Now the signer belongs to the registered service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving_network.errors import ContractError
from serving_network.hashing import keccak

if TYPE_CHECKING:
    from collections.abc import Mapping

QUOTA = "(uint256,uint256,uint256,uint256,string)"


@dataclass(frozen=True)
class OldCall:
    """A function of the old version, and what replaces it."""

    signature: str
    instead: str


OLD_CALLS = (
    OldCall(
        "acknowledgeProviderSigner(address,address)",
        "Fund the provider, which acknowledges its signer (0 is enough for an existing account): "
        "serving ledger fund PROVIDER AMOUNT. Or acknowledge it explicitly: "
        "serving account acknowledge PROVIDER --service fine-tuning",
    ),
    OldCall(
        f"addOrUpdateService(string,{QUOTA},uint256,address,bool,string[])",
        "The signer is now the last argument (url, quota, price, occupied, models, teeSigner), and the first "
        "registration sends the stake: serving service register OFFER --service fine-tuning",
    ),
    OldCall(
        "settleFees((string,bytes,bytes,uint256,address,bytes,uint256,address))",
        "VerifierInput and the signed message no longer contain providerSigner: serving deliverable settle TASK",
    ),
    OldCall(
        "settleFees((uint256,bytes,bytes,uint256,address,bytes,uint256,address))",
        "A deliverable now has a text id instead of an index, and VerifierInput no longer contains providerSigner: "
        "serving deliverable settle TASK",
    ),
    OldCall(
        "acknowledgeDeliverable(address,uint256)",
        "A deliverable now has a text id instead of an index: serving deliverable acknowledge PROVIDER ID",
    ),
    OldCall(
        "addDeliverable(address,bytes)",
        "A deliverable now has a text id: serving deliverable add USER ID HASH",
    ),
)


class OldStyleCall(ContractError):
    """A call of the old version of the network was sent. `call` says which, and what to do instead."""

    def __init__(self, call: OldCall) -> None:
        super().__init__(
            f"{call.signature.partition('(')[0]} with these arguments belongs to the old version of the network.",
            next_step=call.instead,
        )
        self.call = call


def recognise_call(data: bytes) -> OldCall | None:
    """The call of the old version in this calldata, or None."""
    return _BY_SELECTOR.get(data[:4])


def recognise_typed_data(typed_data: Mapping[str, Any]) -> str | None:
    """What to change in typed data (EIP-712) of the old version; None if it has no old fields."""
    types = typed_data.get("types")
    fields = types.get("VerifierMessage") if isinstance(types, dict) else None
    if isinstance(fields, list) and any(
        isinstance(one, dict) and one.get("name") == "providerSigner" for one in fields
    ):
        return "Remove providerSigner from VerifierMessage: the signer is the one that the service registered."
    return None


_BY_SELECTOR = {keccak(call.signature.encode())[:4]: call for call in OLD_CALLS}
