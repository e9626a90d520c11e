# SPDX-License-Identifier: Apache-2.0
"""The local chain: a provider with 50 users, in milliseconds of CPU.

    make bench PARTS=chain

The floors of calls and settlements are revm (pyrevm) and anvil, where they are installed, on the same state; a
settlement cannot take less than recovering its 50 signatures with coincurve.
"""

from __future__ import annotations

import itertools
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from coincurve import PrivateKey, PublicKey

from benchmarks.chain.anvil import anvil_ms
from benchmarks.figures import Figure, cpu_ms
from serving_network.addresses import to_checksum_address
from serving_network.clients import SignedSettlement, User
from serving_network.contracts import load
from serving_network.contracts.models import Offer
from serving_network.hashing import keccak
from serving_network.messages.typed_data import TEESettlement, UserSettlement
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.testing import LocalNetwork, local_network
from serving_network.wallet.local import LocalSigner, LocalTeeSigner

USERS = 50
CHAIN_ID = 31337
GAS = 20_000_000
LISTING_MS, SETTLEMENT_MS = 40, 47.5
"""Half of what they took before the chain had its own calls and estimates."""


class Provider:
    """A provider with accounts of USERS users, on a chain in this process."""

    def __init__(self, network: LocalNetwork) -> None:
        self.chain = network.chain
        self.tee = LocalTeeSigner(bytes(31) + b"\x07")
        self.client = network.provider(1)
        self.signer = network.signer(1)
        offer = Offer(
            service_type="chatbot",
            url="https://provider.example",
            model="model-1",
            verifiability="TeeML",
            input_price=100,
            output_price=200,
            additional_info="{}",
            tee_signer=to_checksum_address(self.tee.address),
        )
        self.client.register(offer)
        network.owner.confirm(self.client.address)
        self.users = [LocalSigner(keccak(b"user %d" % number)) for number in range(USERS)]
        for user in self.users:
            self.chain.request("hardhat_setBalance", [user.address, hex(10 * COIN)])
            acting = User(network.connection, user)
            acting.open_ledger(5 * COIN)
            acting.fund(self.client.address, 3 * COIN)
        self.service = self.client.service().address
        self._contract = load("InferenceServing").interface
        self._nonces = itertools.count(10**15)

    def settlements(self) -> list[SignedSettlement]:
        """The next settlement of every user."""
        nonce = next(self._nonces)
        rows = [UserSettlement(user.address, 1000, nonce, bytes(32)) for user in self.users]
        return [
            SignedSettlement(row, self.tee.sign_typed(TEESettlement(self.client.address, row), CHAIN_ID, self.service))
            for row in rows
        ]

    def settling(self) -> bytes:
        """The call that settles them."""
        rows = [(one.settlement, one.signature) for one in self.settlements()]
        return self._contract.encode(
            "settleFeesWithTEE",
            [
                {
                    "user": row.user,
                    "provider": self.client.address,
                    "totalFee": row.total_fee,
                    "requestsHash": row.requests_hash,
                    "nonce": row.nonce,
                    "signature": signature,
                }
                for row, signature in rows
            ],
        )

    def listing(self) -> bytes:
        """The call that lists the accounts."""
        return self._contract.encode("getAllAccounts", 0, USERS)

    def asked(self, data: bytes) -> dict[str, str]:
        """A call of the service as JSON-RPC has it."""
        return {"from": self.client.address, "to": self.service, "data": "0x" + data.hex()}

    def transactions(self, count: int) -> list[str]:
        """Signed settlements, to be sent in this order."""
        first = int(self.chain.request("eth_getTransactionCount", [self.client.address]), 16)
        fields = {"to": self.service, "value": 0, "gas": GAS, "chainId": CHAIN_ID, "type": 2}
        fees = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9}
        return [
            "0x" + self.signer.sign_transaction(fields | fees | {"nonce": nonce, "data": self.settling()}).hex()
            for nonce in range(first, first + count)
        ]


def measure() -> list[Figure]:
    """All figures."""
    runs = 9
    with local_network() as network:
        provider = Provider(network)
        request = provider.chain.request
        listing = cpu_ms(lambda: request("eth_call", [provider.asked(provider.listing()), "latest"]), runs)
        sent: list[str] = []
        waiting = iter(provider.transactions(3 * runs))
        for _ in range(runs - 1):  # compiles the frequent instructions
            request("eth_sendRawTransaction", [next(waiting)])
        settling = cpu_ms(lambda: sent.append(request("eth_sendRawTransaction", [next(waiting)])), runs)
        receipt = request("eth_getTransactionReceipt", [sent[-1]])
        if receipt["status"] != "0x1":
            raise AssertionError("the settlement failed")
        reading = cpu_ms(lambda: request("eth_getTransactionReceipt", [sent[-1]]), runs)
        estimated = [provider.asked(provider.settling()) for _ in range(runs + 1)]
        estimating = cpu_ms(lambda: request("eth_estimateGas", [estimated.pop()]), runs)
        client_listing = cpu_ms(provider.client.accounts, runs)
        entries = [provider.settlements() for _ in range(runs + 1)][::-1]
        client_settling = cpu_ms(lambda: provider.client.settle(entries.pop()), runs)
        logs = len(request("eth_getLogs", [{"fromBlock": "0x0"}]))
        fetching = cpu_ms(lambda: request("eth_getLogs", [{"fromBlock": "0x0"}]), runs)
        floor, revm_listing, revm_settling = _revm(provider, runs)
        anvil = anvil_ms(provider, CHAIN_ID)
    recovering = _recovering(runs)
    gas = int(receipt["gasUsed"], 16)
    beside_anvil = (
        []
        if anvil is None
        else [
            Figure(f"list {USERS} accounts", listing, "ms", "anvil", anvil[0]),
            Figure(f"settle {USERS} users", settling, "ms", "anvil", anvil[1]),
        ]
    )
    return [
        Figure(f"list {USERS} accounts", listing, "ms", floor, revm_listing, unit_target=LISTING_MS),
        Figure(f"list {USERS} accounts through a client", client_listing, "ms", "the call alone", listing),
        Figure(f"settle {USERS} users", settling, "ms", floor, revm_settling, unit_target=SETTLEMENT_MS),
        Figure(f"settle {USERS} users, its signatures", settling, "ms", "coincurve recovers them", recovering),
        Figure("estimate this settlement", estimating, "ms", "the settlement itself", settling),
        Figure("settle through a client", client_settling, "ms", "the settlement itself", settling),
        Figure("receipt of this settlement", reading, "ms"),
        Figure(f"all {logs} logs of the chain", fetching, "ms"),
        Figure("gas of settlements", gas / settling / 1000, "Mgas/s", unit_target=20),
        *beside_anvil,
    ]


def _recovering(runs: int) -> float:
    key = PrivateKey(bytes(31) + b"\x07")
    signed = [
        (digest, key.sign_recoverable(digest, hasher=None)) for digest in map(keccak, map(str.encode, "a" * USERS))
    ]

    def recover() -> None:
        for digest, signature in signed:
            PublicKey.from_signature_and_message(signature, digest, hasher=None)

    return cpu_ms(recover, runs)


def _revm(provider: Provider, runs: int) -> tuple[str | None, float | None, float | None]:
    """What revm takes for the listing and for settlements, on a copy of the chain's state."""
    if find_spec("pyrevm") is None:
        return None, None, None
    pyrevm: Any = import_module("pyrevm")
    chain = provider.chain._chain
    block = pyrevm.BlockEnv(number=chain.head.number, timestamp=chain.head.timestamp, gas_limit=30_000_000)
    environment = pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=CHAIN_ID), block=block)
    evm = pyrevm.EVM(env=environment, spec_id="CANCUN")
    world = chain.world
    for address, account in world._accounts.items():
        code = world.code(account.code_hash)
        evm.insert_account_info(
            "0x" + address.hex(), pyrevm.AccountInfo(nonce=account.nonce, balance=account.balance, code=code)
        )
    for (address, slot), value in world._slots.items():
        evm.insert_account_storage("0x" + address.hex(), slot, value)
    me, service, listing = provider.client.address, provider.service, provider.listing()
    listed = cpu_ms(lambda: evm.message_call(me, service, listing, 0, GAS, is_static=True), runs)
    calls = [provider.settling() for _ in range(runs + 1)][::-1]
    settled = cpu_ms(lambda: evm.message_call(me, service, calls.pop(), 0, GAS), runs)
    return "revm", listed, settled
