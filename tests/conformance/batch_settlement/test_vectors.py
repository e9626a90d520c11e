# SPDX-License-Identifier: Apache-2.0
"""The vectors of docs/batch-settlement.md, made by ethers, against our typed data and against the compiled contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from serving_network.contracts import load
from serving_network.contracts.build.artifacts import ROOT
from serving_network.messages.typed_data import Domain, TEESettlementBatch, UserSettlement
from serving_network.signing import signed_by
from serving_network.wallet.local import LocalTeeSigner
from tests.evm import Evm
from tests.raw_signing import sign_digest
from tests.unit.contract import COIN, Contract, create

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text())
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in VECTORS["vectors"]}
TWO = CASES["two rows"]
BALANCE = COIN
STAKE = 100 * COIN
SUCCESS, INVALID_NONCE, INVALID_SIGNATURE = 0, 4, 5


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def batch(case: dict[str, Any]) -> TEESettlementBatch:
    rows = [
        UserSettlement(row["user"], int(row["totalFee"]), int(row["nonce"]), raw(row["requestsHash"]))
        for row in case["message"]["settlements"]
    ]
    return TEESettlementBatch(case["message"]["provider"], rows)


def domain(case: dict[str, Any]) -> Domain:
    return Domain(case["domain"]["name"], case["domain"]["chainId"], case["domain"]["verifyingContract"])


def serving(case: dict[str, Any]) -> Contract:
    """The compiled contract on the chain and at the address of the vector's domain: one provider whose TEE signs the
    vectors, and a coin of each of its users."""
    evm = Evm(case["domain"]["chainId"])
    owner, ledger = evm.account("owner"), evm.account("ledger")
    implementation = create(evm, "InferenceServing", STAKE, sender=owner)
    address = case["domain"]["verifyingContract"]
    evm.set_code(address, evm.code(implementation))
    contract = Contract(evm, address, load("InferenceServing").interface)
    contract.send("initialize", 86_400, ledger, owner, sender=owner)
    provider = case["message"]["provider"]
    evm.set_balance(provider, STAKE)
    offer = {
        "serviceType": "chatbot",
        "url": "",
        "model": "",
        "verifiability": "",
        "inputPrice": 1,
        "outputPrice": 1,
        "additionalInfo": "",
        "teeSignerAddress": VECTORS["teeSigner"],
    }
    contract.send("addOrUpdateService", offer, sender=provider, value=STAKE)
    contract.send("acknowledgeTEESignerByOwner", provider, VECTORS["teeSigner"], sender=owner)
    for user in dict.fromkeys(row["user"] for row in case["message"]["settlements"]):
        contract.send("addAccount", user, provider, "", sender=ledger, value=BALANCE)
    return contract


def settle(contract: Contract, case: dict[str, Any], calldata: str) -> list[dict[str, Any]]:
    """Send calldata as it is, from the provider; what the rows' events say."""
    outcome = contract.evm.send(contract.address, raw(calldata), sender=case["message"]["provider"])
    assert outcome.success
    rows = [args for name, args in contract.events_in(outcome.logs) if name == "BatchRowSettled"]
    words = [int.from_bytes(outcome.output[at : at + 32], "big") for at in range(0, 128, 32)]
    packed = [words[at // 64] >> 4 * (at % 64) & 15 for at in range(256)]
    assert packed == [row["status"] for row in rows] + [0] * (256 - len(rows))
    return rows


def test_the_type_is_the_documented_one() -> None:
    assert raw(VECTORS["typeHash"]) == keccak(text=VECTORS["typeString"])
    assert raw(VECTORS["rowTypeHash"]) == keccak(text=VECTORS["rowTypeString"])
    text = (ROOT / "docs" / "batch-settlement.md").read_text()
    for part in ("typeString", "typeHash", "rowTypeString", "rowTypeHash", "teeKey", "teeSigner"):
        assert VECTORS[part] in text
    for part in ("domainSeparator", "structHash", "digest", "signature"):
        assert TWO[part] in text
    assert all(row in text for row in TWO["rowHashes"])


@pytest.mark.parametrize("name", CASES)
def test_our_typed_data_hashes_and_signs_as_ethers_does(name: str) -> None:
    case = CASES[name]
    message, signer = batch(case), LocalTeeSigner(raw(VECTORS["teeKey"]))
    assert signer.address == VECTORS["teeSigner"]
    assert domain(case).separator == raw(case["domainSeparator"])
    assert [row.struct_hash() for row in message.settlements] == [raw(row) for row in case["rowHashes"]]
    assert message.struct_hash() == raw(case["structHash"])
    digest = domain(case).digest(message)
    assert digest == raw(case["digest"])
    assert sign_digest(signer, digest) == raw(case["signature"])
    assert signed_by(signer.address, digest, raw(case["signature"]))
    for signature in case["malformedSignatures"].values():
        assert not signed_by(signer.address, digest, raw(signature))


@pytest.mark.parametrize("name", CASES)
def test_the_contract_accepts_what_ethers_signed_and_encoded(name: str) -> None:
    case = CASES[name]
    expected = INVALID_NONCE if name == "the largest fee and nonce of a row" else SUCCESS
    contract = serving(case)
    rows = settle(contract, case, case["calldata"])
    settlements = case["message"]["settlements"]
    assert [row["user"] for row in rows] == [row["user"] for row in settlements]
    assert {row["status"] for row in rows} == {expected}
    if expected == SUCCESS:
        assert [row["paid"] for row in rows] == [int(row["totalFee"]) for row in settlements]
        assert {row["status"] for row in settle(contract, case, case["calldata"])} == {INVALID_NONCE}


@pytest.mark.parametrize(
    "signature",
    [
        *TWO["malformedSignatures"].values(),
        CASES["two rows on another chain"]["signature"],
        CASES["two rows for another contract"]["signature"],
        CASES["one row"]["signature"],
    ],
    ids=[*TWO["malformedSignatures"], "another chain", "another contract", "another batch"],
)
def test_the_contract_takes_no_other_signature(signature: str) -> None:
    contract = serving(TWO)
    rows = [
        {
            "userAndFee": (int(row["user"], 16) << 96) | int(row["totalFee"]),
            "nonce": int(row["nonce"]),
            "requestsHash": raw(row["requestsHash"]),
        }
        for row in TWO["message"]["settlements"]
    ]
    calldata = contract.interface.encode("settleBatchWithTEE", rows, raw(signature))
    assert {row["status"] for row in settle(contract, TWO, calldata.hex())} == {INVALID_SIGNATURE}
    own = contract.interface.encode("settleBatchWithTEE", rows, raw(TWO["signature"]))
    assert own == raw(TWO["calldata"])
    assert {row["status"] for row in settle(contract, TWO, own.hex())} == {SUCCESS}
