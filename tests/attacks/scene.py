# SPDX-License-Identifier: Apache-2.0
"""Where attacks happen: the real network beside its model, with a user, a provider and a TEE signer who trust it.

`Scene.do` compares every transaction with the model; `compare` every coin and listing.
"""

from __future__ import annotations

from typing import Any

from serving_network.contracts import Interface
from tests.evm import CHAIN_ID, Evm, Outcome
from tests.shared import compile_contract
from tests.stateful.signing import FINE_TUNING as FINE_TUNING_NAME
from tests.stateful.signing import INFERENCE as INFERENCE_NAME
from tests.stateful.signing import Signer, batch_hash, digest, settlement_hash, verifier_hash
from tests.stateful.world import FINE_TUNING, HERE, INFERENCE, INTERFACES, LEDGER, World
from tests.unit.contract import COIN

TERMS = {
    "serviceType": "chatbot",
    "url": "https://provider",
    "model": "model",
    "verifiability": "TeeML",
    "inputPrice": 1,
    "outputPrice": 2,
    "additionalInfo": "",
}
QUOTA = {"cpuCount": 1, "nodeMemory": 2, "gpuCount": 3, "nodeStorage": 4, "gpuType": "H200"}
HASH = b"\x11" * 32


class Scene(World):
    """A `World` in which `user` has a ledger of 20 coins."""

    def __init__(self, evm: Evm) -> None:
        super().__init__(evm)
        self.begin()

    def begin(self) -> None:
        self.reset()
        self.user, self.other_user, self.user_contract = self.users
        self.provider, self.provider_contract = self.providers
        self.tee_signer: Signer = next(iter(self.tee_signers.values()))
        self.do(LEDGER, "addLedger", "", sender=self.user, value=20 * COIN)

    def register(self, provider: str, where: str = INFERENCE, signer: str = "") -> None:
        """A provider whose signer the owner has confirmed."""
        signer = signer or self.tee_signer.address
        if where == FINE_TUNING:
            terms: tuple[Any, ...] = ("https://provider", QUOTA, 1, False, ["model"], signer)
        else:
            terms = (TERMS | {"teeSignerAddress": signer},)
        self.do(where, "addOrUpdateService", *terms, sender=provider, value=100 * COIN)
        self.do(where, "acknowledgeTEESignerByOwner", provider, signer, sender=self.owner)

    def fund(self, provider: str, where: str = INFERENCE, coins: int = 5, user: str = "") -> None:
        self.do(LEDGER, "transferFund", provider, where, coins * COIN, sender=user or self.user)

    def balance_of(self, user: str, provider: str, where: str = INFERENCE) -> int:
        return next(
            (one["balance"] for one in self.accounts(where) if (one["user"], one["provider"]) == (user, provider)), 0
        )

    def entry(
        self,
        provider: str,
        fee: int,
        nonce: int,
        *,
        user: str = "",
        where: str = INFERENCE,
        chain_id: int = CHAIN_ID,
        version: str = "1",
        name: str = INFERENCE_NAME,
    ) -> dict[str, Any]:
        """A signed entry of settleFeesWithTEE for the contract `where`, or for another domain."""
        entry = {
            "user": user or self.user,
            "provider": provider,
            "totalFee": fee,
            "requestsHash": HASH,
            "nonce": nonce,
        }
        contract = self.addresses[where]
        signature = self.tee_signer.sign(digest(name, contract, settlement_hash(entry), chain_id, version))
        if (chain_id, version, name) == (CHAIN_ID, "1", INFERENCE_NAME):
            message = (contract, provider, entry["user"], fee, nonce, HASH)
            self.model.signed[signature] = (self.tee_signer.address, message)
        return entry | {"signature": signature}

    def settle(self, provider: str, *entries: dict[str, Any], where: str = INFERENCE) -> list[int]:
        """The statuses."""
        statuses: list[int] = self.do(where, "settleFeesWithTEE", list(entries), sender=provider).value
        return statuses

    def batch(self, provider: str, rows: list[tuple[str, int, int]]) -> list[int]:
        """The statuses of a settleBatchWithTEE of (user, fee, nonce), signed as a whole."""
        packed = [
            {"userAndFee": int(user, 16) << 96 | fee, "nonce": nonce, "requestsHash": HASH} for user, fee, nonce in rows
        ]
        contract = self.addresses[INFERENCE]
        signature = self.tee_signer.sign(digest(INFERENCE_NAME, contract, batch_hash(provider, packed)))
        message = (contract, provider, tuple(tuple(sorted(row.items())) for row in packed))
        self.model.signed[signature] = (self.tee_signer.address, message)
        words = self.do(INFERENCE, "settleBatchWithTEE", packed, signature, sender=provider).value
        return [words[at // 64] >> 4 * (at % 64) & 15 for at in range(len(rows))]

    def task(self, name: str, fee: int, nonce: int, *, secret: bytes = b"", chain_id: int = CHAIN_ID) -> dict[str, Any]:
        """A signed input of settleFees for the user's deliverable `name`."""
        task = {
            "id": name,
            "encryptedSecret": secret,
            "modelRootHash": b"root",
            "nonce": nonce,
            "taskFee": fee,
            "user": self.user,
        }
        contract = self.addresses[FINE_TUNING]
        signature = self.tee_signer.sign(digest(FINE_TUNING_NAME, contract, verifier_hash(task), chain_id))
        if chain_id == CHAIN_ID:
            message = (contract, name, secret, b"root", nonce, fee, self.user)
            self.model.signed[signature] = (self.tee_signer.address, message)
        return task | {"signature": signature}

    def leave(self, user: str = "") -> None:
        """Take everything home, from every service."""
        user = user or self.user
        for _ in range(2):
            for where in (INFERENCE, FINE_TUNING):
                self.do(LEDGER, "retrieveFund", self.providers, where, sender=user)
            self.wait(86_400)
        self.do(LEDGER, "refundAll", sender=user)

    # What the model knows nothing of: contracts that others wrote

    def raw(self, where: str, name: str, *args: Any, sender: str, value: int = 0) -> Outcome:
        """A transaction without the model."""
        data = INTERFACES[where].encode(name, *args)
        return self.evm.send(self.addresses[where], data, sender=sender, value=value)

    def install(self, code: bytes) -> str:
        """Put up a contract with this runtime code."""
        creation = bytes.fromhex(f"61{len(code):04x}80600a5f395ff3") + b"\0" + code
        created = self.evm.deploy(creation[:10].ljust(10, b"\0") + code, sender=self.stranger).created
        assert created is not None
        return created

    def compiled(self, source: str, *args: Any) -> tuple[str, Interface]:
        """Put up a Vyper contract of this directory."""
        made = compile_contract(HERE.parent / "attacks" / source, HERE.parent / "attacks")
        interface = Interface(made.abi)
        created = self.evm.deploy(made.bytecode + interface.encode_constructor(*args), sender=self.stranger).created
        assert created is not None
        return created, interface


def reason(outcome: Outcome, where: str = LEDGER) -> Any:
    """The error of a refused transaction, as (name, arguments)."""
    assert not outcome.success
    return INTERFACES[where].decode_error(outcome.output)
