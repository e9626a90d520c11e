# SPDX-License-Identifier: Apache-2.0
"""The plans of docs/security/incidents.md, carried out with the commands on that page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving_network.contracts import load
from serving_network.contracts.build.artifacts import ROOT
from serving_network.messages.typed_data import TEESettlement, UserSettlement
from serving_network.wallet.keys import KeyStore
from serving_network.wallet.local import LocalSigner
from tests.deployment import people
from tests.deployment.guide import GUIDE, Guide
from tests.docs.commands import commands_in

PAGE = ROOT / "docs" / "security" / "incidents.md"
SPEC = GUIDE.read_text().split("```toml\n", 1)[1].split("```", 1)[0]
COIN = 10**18
NEW_TEE = LocalSigner(b"\x07" * 32)
SAFE = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"
SERVICE = "inference-v1.0"


class Scene:
    """A network with a provider, whose TEE signer is confirmed, and two users with funded accounts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.guide = Guide(folder)
        self.bench = self.guide.bench
        self.record = folder / "networks" / "mine.json"
        self.snapshot = ""

    def set_up(self) -> None:
        (self.folder / "networks" / "mine.toml").write_text(SPEC)
        keys = KeyStore(self.guide.home / "keys", scrypt_work=2)
        for name, key in (
            ("owner", self.bench.owner),
            ("provider", self.bench.provider),
            ("user", self.bench.user),
            ("thief", self.bench.stranger),
        ):
            keys.add(name, key, "secret")
        self.does("serving deploy apply --key owner --yes")
        ledger = json.loads(self.record.read_text())["contracts"]["ledger"]["front"]["address"]
        self.does(f"serving network add mine --ledger {ledger}")
        people.open_accounts(self.guide._named_bench())
        self.keep()

    def next_version(self) -> None:
        """A second version of the inference service is deployed beside the first one."""
        file = self.folder / "networks" / "mine.toml"
        file.write_text(SPEC + GUIDE.read_text().split("```toml\n", 2)[2].split("```", 1)[0])
        self.does("serving deploy apply --key owner --yes")
        file.write_text(SPEC)

    def keep(self) -> None:
        """Take a snapshot of the chain and the record."""
        self.snapshot = self.chain("evm_snapshot")
        shutil.copy(self.record, self.folder / "kept.json")

    def put_back(self) -> None:
        """Restore the snapshot."""
        self.chain("evm_revert", self.snapshot)
        shutil.copy(self.folder / "kept.json", self.record)
        self.keep()

    def chain(self, method: str, *params: Any) -> Any:
        return self.guide.chain.request(method, list(params))

    def does(self, command: str, code: int = 0) -> str:
        output = self.guide.type(command)
        assert self.guide.exit_code == code, output
        return output

    def as_written(self, command: str, *, key: str | None = None, code: int = 0, **filled: Any) -> str:
        """Run a command of the page with its placeholders filled in, and confirm it."""
        assert command in set(commands_in(PAGE)), f"the page does not have the command: {command}"
        for name, value in filled.items():
            assert name in command
            command = command.replace(name, value)
        given = f" --key {key}" if key else ""
        agreed = " --yes" if "--key" in command + given and command != "serving settle" else ""
        return self.does(command + given + agreed, code)

    def held_with_the_provider(self) -> int:
        """The wei in the user's account."""
        (account,) = json.loads(self.does(f"serving account list --user {self.bench.user.address} --json"))
        return int(account["balance"]["wei"])

    def settle(self, tee: LocalSigner, nonce: int) -> list[tuple[str, str]]:
        """Send a settlement of one coin as the provider, signed by this TEE. Returns statuses and coins paid."""
        front = json.loads(self.record.read_text())["contracts"][SERVICE]["front"]["address"]
        row = UserSettlement(self.bench.user.address, COIN, nonce, bytes(32))
        message = TEESettlement(self.bench.provider.address, row)
        path = self.folder / "settlement.json"
        entry = {
            "user": row.user,
            "totalFee": "1 coin",
            "requestsHash": "0x" + row.requests_hash.hex(),
            "nonce": nonce,
            "signature": "0x" + tee.as_tee_signer().sign_typed(message, 31337, front).hex(),
        }
        path.write_text(json.dumps([entry]))
        output = json.loads(self.does(f"serving settlement send {path} --key provider --yes --json"))
        return [(one["status"], one["paid"]["coins"]) for one in output["outcomes"]]


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("incident"))
    with scene.guide.playing():
        scene.set_up()
        yield scene


@pytest.fixture
def scene(playing: Scene) -> Iterator[Scene]:
    yield playing
    playing.put_back()


def test_a_tee_key_was_stolen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = scene.bench.provider.address
    stolen = scene.bench.tee_signer
    assert scene.settle(stolen, 1) == [("SUCCESS", "1")]
    scene.as_written("serving signer revoke PROVIDER --service inference --key owner", PROVIDER=provider)
    assert scene.settle(stolen, 2) == [("NO_TEE_SIGNER", "0")]
    assert "TEESettlementResult" in scene.as_written("serving events")
    assert "money may be at risk" not in scene.as_written("serving health")
    usage = scene.folder / "usage.jsonl"
    usage.write_text(json.dumps({"id": "a", "user": scene.bench.user.address, "time": 1, "fee": 2 * COIN}) + "\n")
    monkeypatch.setenv("SERVING_TEE_KEY", (b"\x07" * 32).hex())
    scene.does(f"serving settle {usage} --key provider", code=4)
    scene.as_written("serving service update --set tee_signer=0xNEW --key provider", NEW=NEW_TEE.address[2:])
    assert "signer not confirmed" in scene.does(f"serving settle {usage} --key provider", code=11)
    scene.as_written(
        "serving signer confirm PROVIDER --expect 0xNEW --key owner", PROVIDER=provider, NEW=NEW_TEE.address[2:]
    )
    assert scene.settle(stolen, 3) == [("INVALID_SIGNATURE", "0")]
    assert "unknown settlement" in scene.does("serving settle --key provider", code=11)
    assert scene.held_with_the_provider() == 3 * COIN + 3
    listed = scene.as_written("serving settlement adopt --key provider --dry-run", code=11)
    assert "decide with --paid-before or --covers" in listed
    scene.as_written(
        "serving settlement adopt USER --covers AMOUNT --key provider", USER=scene.bench.user.address, AMOUNT="1coin"
    )
    scene.as_written("serving settle", key="provider")
    assert scene.held_with_the_provider() == 2 * COIN + 3
    scene.as_written("serving ledger retrieve PROVIDER", key="user", PROVIDER=provider)


def test_a_version_is_faulty_since_the_last_upgrade(scene: Scene) -> None:
    provider = scene.bench.provider.address
    before = json.loads(scene.record.read_text())["contracts"][SERVICE]["implementation"]["address"]
    artifact = load("InferenceServing")
    selector = artifact.interface.selector("acknowledgeTEESigner").hex()
    path = scene.guide._own_artifacts() / "InferenceServing.json"
    text = path.read_text()
    assert selector in text
    stored = json.loads(text)
    for part in ("bytecode", "deployedBytecode"):
        stored[part] = stored[part].replace(selector, "deadbeef")
    path.write_text(json.dumps(stored | {"sourceHashes": {}}))
    load.cache_clear()
    scene.as_written("serving upgrade apply inference-v1.0", key="owner")
    acknowledge = f"serving account acknowledge {provider} --key thief --yes"
    scene.guide.first_release()
    scene.does(acknowledge, code=7)
    output = scene.as_written("serving upgrade rollback inference-v1.0", key="owner")
    assert "answers are the same after the change" in output
    assert json.loads(scene.record.read_text())["contracts"][SERVICE]["implementation"]["address"] == before
    assert "no differences" in scene.does("serving deploy check")
    scene.does(acknowledge)
    assert "The network is healthy." in scene.as_written("serving health --strict")


def test_a_version_is_faulty_and_there_is_no_earlier_one(scene: Scene) -> None:
    provider = scene.bench.provider.address
    scene.as_written("serving upgrade rollback inference-v1.0", key="owner", code=2)
    (listed,) = json.loads(scene.does("serving service list --json"))
    assert provider in scene.as_written("serving service list --wide")
    scene.as_written("serving signer revoke PROVIDER", key="owner", PROVIDER=listed["provider"])
    assert scene.settle(scene.bench.tee_signer, 1) == [("NO_TEE_SIGNER", "0")]
    scene.as_written("serving ledger retrieve PROVIDER", key="user", PROVIDER=provider)
    scene.chain("evm_increaseTime", 86_401)
    scene.chain("evm_mine")
    scene.as_written("serving ledger retrieve PROVIDER", key="user", PROVIDER=provider)
    assert scene.held_with_the_provider() == 0
    scene.next_version()
    scene.as_written("serving registry recommend OTHER_SERVICE", key="owner", OTHER_SERVICE="inference-v1.1")
    assert "inference-v1.1    yes" in scene.does("serving registry list")
    scene.as_written("serving registry recommend OTHER_SERVICE", key="owner", OTHER_SERVICE="inference-v9", code=2)


def test_an_owners_key_was_stolen(scene: Scene) -> None:
    provider = scene.bench.provider.address
    scene.as_written(
        "serving ownership transfer SERVICE SAFE_ADDRESS --key owner", SERVICE="inference", SAFE_ADDRESS=SAFE
    )
    for refused in (f"serving signer revoke {provider}", "serving setting lock-time 1"):
        scene.does(f"{refused} --key owner --yes", code=7)
    scene.as_written("serving ownership transfer all SAFE_ADDRESS --what upgrade", key="owner", SAFE_ADDRESS=SAFE)
    assert scene.as_written("serving ownership show").count(SAFE) >= 4
    assert "recorded" not in scene.does("serving health")
    beacon = json.loads(scene.record.read_text())["contracts"]["ledger"]["beacon"]["address"]
    call = load("UpgradeableBeacon").interface.encode("upgradeTo", beacon)
    answer = scene.guide.chain.request("eth_getCode", [beacon, "latest"])
    assert len(answer) > 2
    with pytest.raises(Exception, match="revert"):
        scene.chain("eth_call", {"from": scene.bench.owner.address, "to": beacon, "data": "0x" + call.hex()}, "latest")
    assert scene.settle(scene.bench.tee_signer, 1) == [("SUCCESS", "1")]
