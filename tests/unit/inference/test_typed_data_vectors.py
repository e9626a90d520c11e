# SPDX-License-Identifier: Apache-2.0
"""Settlements signed by another implementation, on the compiled contract at the addresses that the vectors name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving_network.contracts import load
from tests.evm import Evm
from tests.unit.contract import COIN, Contract, create
from tests.unit.inference.world import DAY, INVALID_NONCE, INVALID_SIGNATURE, OFFER, PARTIAL, STAKE, STOP, SUCCESS

VECTORS = json.loads((Path(__file__).parents[2] / "settlement/eip712_vectors.json").read_text("utf-8"))
CASES = VECTORS["inference"]
MALFORMED = [(case, kind) for case in CASES for kind in case.get("invalidSignatures", {})]


def label(case: Any) -> str:
    return case if isinstance(case, str) else f"{case['domain']['chainId']}-{case['message']['nonce'][:8]}"


def hexed(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def entry(case: dict[str, Any], signature: str) -> dict[str, Any]:
    message = case["message"]
    return {
        "user": message["user"],
        "provider": message["provider"],
        "totalFee": int(message["totalFee"]),
        "requestsHash": hexed(message["requestsHash"]),
        "nonce": int(message["nonce"]),
        "signature": hexed(signature),
    }


def network(case: dict[str, Any]) -> Contract:
    """A chain of the vector's id with inference at its address, the provider registered and the user's account open."""
    evm = Evm(case["domain"]["chainId"])
    owner, ledger = evm.account("owner"), evm.account("ledger")
    evm.set_code(ledger, STOP)
    artifact = load("InferenceServing")
    implementation = create(evm, "InferenceServing", STAKE, sender=owner)
    front = case["domain"]["verifyingContract"]
    evm.set_code(front, bytes.fromhex("365f5f375f5f365f73" + implementation[2:] + "5af43d5f5f3e3d5ff3"))
    serving = Contract(evm, front, artifact.interface)
    user, provider = case["message"]["user"], case["message"]["provider"]
    evm.set_balance(provider, 2 * STAKE)
    serving.send("initialize", DAY, ledger, owner, sender=owner)
    serving.send("addOrUpdateService", OFFER | {"teeSignerAddress": VECTORS["teeSigner"]}, sender=provider, value=STAKE)
    serving.send("acknowledgeTEESignerByOwner", provider, sender=owner)
    serving.send("addAccount", user, provider, "", sender=ledger, value=COIN)
    return serving


@pytest.mark.parametrize("case", CASES, ids=label)
def test_what_another_implementation_signed_is_settled(case: dict[str, Any]) -> None:
    serving = network(case)
    asked = entry(case, case["signature"])
    expected = INVALID_NONCE if asked["nonce"] >= 2**64 else PARTIAL if asked["totalFee"] > COIN else SUCCESS
    assert serving.send("settleFeesWithTEE", [asked], sender=asked["provider"]).result == [expected]


@pytest.mark.parametrize(("case", "kind"), MALFORMED, ids=label)
def test_malformed_signatures_are_status_5_and_stop_nobody(case: dict[str, Any], kind: str) -> None:
    serving = network(case)
    wrong, right = entry(case, case["invalidSignatures"][kind]), entry(case, case["signature"])
    done = serving.send("settleFeesWithTEE", [wrong, right], sender=right["provider"])
    assert done.result == [INVALID_SIGNATURE, SUCCESS]


def test_a_vector_of_one_chain_is_worth_nothing_on_the_other() -> None:
    here, there = CASES[0], next(case for case in CASES if case["domain"]["chainId"] != 31337)
    serving = network(here)
    assert here["message"] == there["message"]
    asked = entry(here, there["signature"])
    assert serving.send("settleFeesWithTEE", [asked], sender=asked["provider"]).result == [INVALID_SIGNATURE]
