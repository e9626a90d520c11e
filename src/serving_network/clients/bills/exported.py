# SPDX-License-Identifier: Apache-2.0
"""A bill as a file: receipts in JSON, which anybody can verify with a node and no key."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from serving_network.addresses import is_checksum_address
from serving_network.errors import InvalidInput
from serving_network.messages.receipts import InvalidReceipt, SignedReceipt, parse_receipt
from serving_network.store.bills import BillIdentity
from serving_network.untrusted import parse_json, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT: Final = "serving-bill-1"
_FIELDS: Final = {"chain_id": "chainId", "contract": "contract", "provider": "provider", "user": "user"}


class InvalidBill(InvalidInput):
    """The file is not a bill. `str(error)` says why."""


def export_bill(identity: BillIdentity, receipts: Sequence[SignedReceipt], *, redact: bool) -> str:
    """The file's text. A redacted one says nothing about the requests and answers, and verifies all the same."""
    shown = [one.redacted() if redact else one for one in receipts]
    about = {_FIELDS[name]: value for name, value in asdict(identity).items()}
    return json.dumps({"format": FORMAT} | about | {"receipts": [one.as_json() for one in shown]}, indent=1) + "\n"


def import_bill(content: bytes, source: str = "The file") -> tuple[BillIdentity, list[SignedReceipt]]:
    """The bill in a file, its receipts sorted by sequence, checked for form only.

    Raises InvalidBill, which names the `source`.
    """
    try:
        found = parse_json(content)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        identity = BillIdentity(**{name: found[key] for name, key in _FIELDS.items()})
        _check(identity)
        receipts = [parse_receipt(one) for one in found["receipts"]]
    except (ValueError, KeyError, TypeError, InvalidReceipt) as error:
        raise InvalidBill(
            f"{source} is not a bill.",
            cause=f"{reason_of(error)}.",
            next_step="Make one with serving bill export PROVIDER FILE",
        ) from error
    if any(not identity.owns(one) for one in receipts):
        raise InvalidBill(
            f"{source} has receipts of another user, provider, contract or chain.",
            next_step="Make one with serving bill export PROVIDER FILE",
        )
    return identity, sorted(receipts, key=lambda one: one.receipt.sequence)


def _check(identity: Any) -> None:
    if type(identity.chain_id) is not int:
        raise TypeError("chainId is not a number")
    for address in (identity.contract, identity.provider, identity.user):
        if not isinstance(address, str) or not is_checksum_address(address):
            raise ValueError(f"{address!r} is not an address with its checksum")
