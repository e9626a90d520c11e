# SPDX-License-Identifier: Apache-2.0
"""Our implementations behind ordinary OpenZeppelin beacon proxies: one user's coins on their whole way."""

from __future__ import annotations

from typing import Any

from serving_network.contracts import load
from serving_network.messages.typed_data import (
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
    VerifierMessage,
)
from serving_network.wallet.local import LocalTeeSigner
from tests.evm import CHAIN_ID, Evm
from tests.proxy.world import World, openzeppelin
from tests.unit.contract import COIN, Contract, create

INFERENCE = "inference-v1.0"
FINE_TUNING = "fine-tuning-v1.1"
LOCK_TIME = 86_400
TEE = LocalTeeSigner(bytes(31) + b"\x01")
ROOT_HASH = bytes(range(32))
REQUESTS = bytes(32)


def behind_openzeppelin(world: World, name: str, *args: Any, initialize: tuple[Any, ...]) -> Contract:
    interface = load(name).interface
    implementation = create(world.evm, name, *args, sender=world.owner)
    beacon_interface, proxy_interface = load("UpgradeableBeacon").interface, load("BeaconProxy").interface
    beacon = world.create(openzeppelin("UpgradeableBeacon") + beacon_interface.encode_constructor(implementation))
    data = interface.encode("initialize", *initialize)
    proxy = world.create(openzeppelin("BeaconProxy") + proxy_interface.encode_constructor(beacon, data))
    return Contract(world.evm, proxy, interface, beacon)


def test_every_contract_works_behind_an_ordinary_beacon_proxy() -> None:
    evm = Evm()
    owner, user, provider = evm.account("owner"), evm.account("user"), evm.account("provider")
    world = World(evm, owner, evm.account("stranger"), user)
    ledger = behind_openzeppelin(world, "LedgerManager", 3 * COIN, COIN, initialize=(owner,))
    inference = behind_openzeppelin(
        world, "InferenceServing", 100 * COIN, initialize=(LOCK_TIME, ledger.address, owner)
    )
    tuning = behind_openzeppelin(
        world, "FineTuningServing", 100 * COIN, initialize=(LOCK_TIME, ledger.address, owner, 30)
    )
    ledger.send("registerService", "inference", "v1.0", inference.address, "", sender=owner)
    ledger.send("registerService", "fine-tuning", "v1.1", tuning.address, "", sender=owner)
    offer = {
        "serviceType": "chatbot",
        "url": "https://provider.example",
        "model": "model",
        "verifiability": "TeeML",
        "inputPrice": 1,
        "outputPrice": 2,
        "additionalInfo": "",
        "teeSignerAddress": TEE.address,
    }
    inference.send("addOrUpdateService", offer, sender=provider, value=100 * COIN)
    quota = {"cpuCount": 8, "nodeMemory": 64, "gpuCount": 1, "nodeStorage": 500, "gpuType": "H100"}
    tuning.send(
        "addOrUpdateService", "https://provider.example", quota, 1, False, ["model"], TEE.address,
        sender=provider, value=100 * COIN,
    )  # fmt: skip
    for service in (inference, tuning):
        service.send("acknowledgeTEESignerByOwner", provider, TEE.address, sender=owner)

    ledger.send("addLedger", "about the user", sender=user, value=20 * COIN)
    ledger.send("transferFund", provider, INFERENCE, 8 * COIN, sender=user)
    ledger.send("transferFund", provider, FINE_TUNING, 5 * COIN, sender=user)
    assert ledger.ask("getLedger", user)["totalBalance"] == 20 * COIN
    assert inference.ask("getAccount", user, provider)["additionalInfo"] == "about the user"

    single = TEESettlement(provider, UserSettlement(user, 2 * COIN, 1, REQUESTS))
    entry = {
        "user": user,
        "provider": provider,
        "totalFee": 2 * COIN,
        "requestsHash": REQUESTS,
        "nonce": 1,
        "signature": TEE.sign_typed(single, CHAIN_ID, inference.address),
    }
    assert inference.send("settleFeesWithTEE", [entry], sender=provider).result == [0]
    batch = TEESettlementBatch(provider, [UserSettlement(user, COIN, 2, REQUESTS)])
    row = {"userAndFee": int(user, 16) << 96 | COIN, "nonce": 2, "requestsHash": REQUESTS}
    signature = TEE.sign_typed(batch, CHAIN_ID, inference.address)
    assert inference.send("settleBatchWithTEE", [row], signature, sender=provider).result == [0, 0, 0, 0]

    tuning.send("addDeliverable", user, "task-1", ROOT_HASH, sender=provider)
    tuning.send("acknowledgeDeliverable", provider, "task-1", sender=user)
    message = VerifierMessage("task-1", b"secret", ROOT_HASH, 1, 4 * COIN, user)
    verified = {
        "id": "task-1",
        "encryptedSecret": b"secret",
        "modelRootHash": ROOT_HASH,
        "nonce": 1,
        "signature": TEE.sign_typed(message, CHAIN_ID, tuning.address),
        "taskFee": 4 * COIN,
        "user": user,
    }
    earned = evm.balance(provider)
    tuning.send("settleFees", verified, sender=provider)
    assert evm.balance(provider) - earned == 4 * COIN

    for _ in range(2):
        for name in (INFERENCE, FINE_TUNING):
            ledger.send("retrieveFund", [provider], name, sender=user)
        evm.time += LOCK_TIME
    before = evm.balance(user)
    ledger.send("refundAll", sender=user)
    assert evm.balance(user) - before == (20 - 2 - 1 - 4) * COIN
    assert [evm.balance(contract.address) for contract in (ledger, inference, tuning)] == [0, 100 * COIN, 100 * COIN]
    assert not inference.ask("accountExists", user, provider)
