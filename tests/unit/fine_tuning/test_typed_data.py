# SPDX-License-Identifier: Apache-2.0
"""The EIP-712 vectors of another library, judged by the compiled verifier and settled on the whole contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving_network.contracts import load
from tests.evm import CHAIN_ID, Evm
from tests.unit.contract import COIN, Contract, create, error
from tests.unit.fine_tuning.world import DAY, PENALTY, STAKE, mock, offer

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "settlement" / "eip712_vectors.json").read_text("utf-8")
)
CASES: list[dict[str, Any]] = VECTORS["fineTuning"]
BROKEN = [(number, name) for number, case in enumerate(CASES) for name in case.get("invalidSignatures", {})]
SIGNER: str = VECTORS["teeSigner"]


def hexed(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def signed(case: dict[str, Any], signature: str) -> dict[str, Any]:
    message = case["message"]
    return {
        "id": message["id"],
        "encryptedSecret": hexed(message["encryptedSecret"]),
        "modelRootHash": hexed(message["modelRootHash"]),
        "nonce": int(message["nonce"]),
        "signature": hexed(signature),
        "taskFee": int(message["taskFee"]),
        "user": message["user"],
    }


def verifier_of(case: dict[str, Any]) -> Contract:
    """The verifier at the address and on the chain of a vector."""
    evm = Evm(chain_id=case["domain"]["chainId"])
    made = mock(evm, "Verifier", sender=evm.account())
    evm.set_code(case["domain"]["verifyingContract"], evm.code(made.address))
    return Contract(evm, case["domain"]["verifyingContract"], made.interface)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_the_verifier_accepts_the_signers_and_nobody_elses(case: dict[str, Any], stranger: str) -> None:
    verifier = verifier_of(case)
    assert verifier.ask("signedBy", SIGNER, signed(case, case["signature"]))
    assert not verifier.ask("signedBy", stranger, signed(case, case["signature"]))
    elsewhere = mock(verifier.evm, "Verifier", sender=verifier.evm.account())
    assert not elsewhere.ask("signedBy", SIGNER, signed(case, case["signature"]))


@pytest.mark.parametrize(("number", "name"), BROKEN)
def test_the_verifier_refuses_malformed_signatures(number: int, name: str) -> None:
    case = CASES[number]
    verifier = verifier_of(case)
    broken = signed(case, case["invalidSignatures"][name])
    assert not verifier.ask("signedBy", SIGNER, broken)


def test_the_vectors_have_malformed_signatures() -> None:
    assert {name for _, name in BROKEN} == {"malleable", "short", "long", "vZero", "zeros", "empty"}


@pytest.fixture
def there(evm: Evm, owner: str, ledger: str, provider: str) -> Contract:
    """The whole contract at the address of the vectors of this chain, with the provider confirmed."""
    address = CASES[0]["domain"]["verifyingContract"]
    implementation = create(evm, "FineTuningServing", STAKE, sender=owner)
    evm.set_code(address, evm.code(implementation))
    contract = Contract(evm, address, load("FineTuningServing").interface)
    contract.send("initialize", DAY, ledger, owner, PENALTY, sender=owner)
    contract.send("addOrUpdateService", *offer(teeSignerAddress=SIGNER), sender=provider, value=STAKE)
    contract.send("acknowledgeTEESignerByOwner", provider, SIGNER, sender=owner)
    return contract


HERE = [number for number, case in enumerate(CASES) if case["domain"]["chainId"] == CHAIN_ID]


@pytest.mark.parametrize("number", HERE)
def test_the_contract_settles_them(there: Contract, ledger: str, provider: str, number: int) -> None:
    case = CASES[number]
    settlement = signed(case, case["signature"])
    user, name = settlement["user"], settlement["id"]
    there.send("addAccount", user, provider, "", sender=ledger, value=10 * COIN)
    there.send("addDeliverable", user, name, settlement["modelRootHash"], sender=provider)
    if settlement["encryptedSecret"]:
        there.send("acknowledgeDeliverable", provider, name, sender=user)
    for broken in case.get("invalidSignatures", {}).values():
        assert there.refused("settleFees", signed(case, broken), sender=provider) == error(
            "InvalidVerifierInput", reason="TEE settlement validation failed"
        )
    there.send("settleFees", settlement, sender=provider)
    assert there.ask("getAccount", user, provider)["balance"] == 10 * COIN - settlement["taskFee"]
    found = there.ask("getDeliverable", user, provider, name)
    assert (found["settled"], found["encryptedSecret"]) == (True, settlement["encryptedSecret"])


@pytest.mark.parametrize("number", HERE)
def test_the_contract_refuses_those_of_another_chain(there: Contract, ledger: str, provider: str, number: int) -> None:
    case = CASES[number + len(HERE)]
    settlement = signed(case, case["signature"])
    user, name = settlement["user"], settlement["id"]
    assert case["domain"]["chainId"] != CHAIN_ID
    there.send("addAccount", user, provider, "", sender=ledger, value=10 * COIN)
    there.send("addDeliverable", user, name, settlement["modelRootHash"], sender=provider)
    assert there.refused("settleFees", settlement, sender=provider) == error(
        "InvalidVerifierInput", reason="TEE settlement validation failed"
    )
