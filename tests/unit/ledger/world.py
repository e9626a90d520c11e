# SPDX-License-Identifier: Apache-2.0
"""A ledger behind its front, services of several kinds, and the people who use them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils import keccak

from serving_network.contracts import Decoded, Interface, load
from tests.evm import Evm
from tests.fastest_evm import FASTEST
from tests.shared import compile_contract
from tests.unit.contract import COIN, Contract, Done, behind_front

MOCKS = Path(__file__).with_name("mocks")
MIN_ACCOUNT = 3 * COIN
MIN_TRANSFER = 1 * COIN
DAY = 86_400

HONEST, ANSWER, REVERT, REVERT_BOMB, ENDLESS = range(5)
BOMB_SIZE = 102_400
# PUSH3 size, PUSH0, RETURN
RETURN_BOMB = b"\x62" + BOMB_SIZE.to_bytes(3, "big") + b"\x5f\xf3"


@cache
def compiled(name: str) -> tuple[Interface, bytes]:
    """What the compiler makes of one of the mocks."""
    made = compile_contract(MOCKS / f"{name}.vy", MOCKS)
    return Interface(made.abi), made.bytecode


def create_mock(evm: Evm, name: str, *args: Any, sender: str) -> tuple[str, Interface]:
    """A mock behind no front: its address and interface."""
    interface, code = compiled(name)
    outcome = evm.deploy(code + interface.encode_constructor(*args), sender=sender)
    assert outcome.created is not None
    return outcome.created, interface


def word(value: int) -> bytes:
    """One word of an ABI answer."""
    return value.to_bytes(32, "big")


@dataclass
class Service(Contract):
    """A service written by others, under its registered name; it has 1,000 coins that belong to nobody."""

    name: str = ""
    scripted: bool = False

    def script(
        self,
        function: str,
        *,
        calls: Sequence[tuple[str, bytes]] = (),
        coins: int = 0,
        waste: int = 0,
        answer: bytes | None = None,
        mode: int = HONEST,
        once: bool = False,
    ) -> None:
        """From now on (or `once`), in `function` (its signature): make the calls, send the ledger `coins` wei, waste
        gas, then answer honestly, or with `answer`, or as `mode` says."""
        if answer is not None and mode == HONEST:
            mode = ANSWER
        script = {
            "calls": [{"target": target, "data": data} for target, data in calls],
            "coins": coins,
            "waste": waste,
            "mode": mode,
            "answer": answer or b"",
            "once": once,
        }
        self.send("script", keccak(text=function)[:4], script, sender=self.address)
        self.scripted = True

    def answer_with_bombs(self) -> None:
        """From now on, answer everything with 100 KB of zeros."""
        self.evm.set_code(self.address, RETURN_BOMB)
        self.scripted = True

    def outcome(self, index: int) -> tuple[bool, bytes]:
        """Whether a scripted call succeeded, and what came back."""
        found: bytes = self.ask("outcomes", index)
        return found[31] == 1, found[32:]

    def held(self, user: str, providers: Sequence[str]) -> int:
        return sum(int(self.ask("account", user, provider)["balance"]) for provider in providers)


@dataclass
class Wallet(Contract):
    """A user that is a contract."""

    def through(self, ledger: Contract, name: str, *args: Any, coins: int = 0) -> tuple[str, bytes]:
        """Target and calldata of what anybody sends to make this wallet call the ledger."""
        return self.address, self.interface.encode(
            "execute", ledger.address, ledger.interface.encode(name, *args), coins
        )

    def act(self, ledger: Contract, name: str, *args: Any, coins: int = 0) -> list[Decoded]:
        """Call the ledger as this wallet; what the ledger emits."""
        done = self.send("execute", ledger.address, ledger.interface.encode(name, *args), coins, sender=self.address)
        return ledger.events_in(done.logs)

    def refused_by(self, ledger: Contract, name: str, *args: Any) -> Decoded | None:
        """The ledger's error in a call that must revert."""
        outcome = self.evm.send(*self.through(ledger, name, *args), sender=self.address)
        assert not outcome.success
        return ledger.interface.decode_error(outcome.output)


@dataclass
class World:
    """Everything a test of the ledger needs: `services` written by others, and `ours`; `forced` are wei that reached
    the ledger without belonging to anybody."""

    evm: Evm
    ledger: Contract
    owner: str
    user: str
    provider: str
    second: str
    stranger: str
    services: list[Service] = field(default_factory=list)
    ours: list[Contract] = field(default_factory=list)
    forced: int = 0

    def begin(self) -> None:
        """Forget what an earlier test did."""
        self.services.clear()
        self.ours.clear()
        self.forced = 0

    def service(self, name: str = "others-v1", *, native: bool = False, registered: bool = True) -> Service:
        """A new service; `native` ones keep the account book that ours keep."""
        address, interface = create_mock(self.evm, "Service", self.ledger.address, native, sender=self.owner)
        self.evm.set_balance(address, 1000 * COIN)
        made = Service(self.evm, address, interface, name=name)
        if registered:
            self.register(address, name)
            self.services.append(made)
        return made

    def register(self, address: str, name: str) -> Done:
        kind, _, version = name.rpartition("-")
        return self.ledger.send("registerService", kind, version, address, "for tests", sender=self.owner)

    def wallet(self, coins: int = 1000 * COIN) -> Wallet:
        address, interface = create_mock(self.evm, "Wallet", sender=self.owner)
        self.evm.set_balance(address, coins)
        return Wallet(self.evm, address, interface)

    def open(self, user: str, coins: int = 10 * COIN, info: str = "") -> None:
        self.ledger.send("addLedger", info, sender=user, value=coins)

    def available(self, user: str) -> int:
        return int(self.ledger.ask("getLedger", user)["availableBalance"])

    def total(self, user: str) -> int:
        return int(self.ledger.ask("getLedger", user)["totalBalance"])

    def providers(self, user: str, service: str = "others-v1") -> list[str]:
        found: list[str] = self.ledger.ask("getLedgerProviders", user, service)
        return found

    def ledgers(self) -> Iterator[dict[str, Any]]:
        """Every ledger, page by page."""
        offset, total = 0, 1
        while offset < total:
            page, total = self.ledger.ask("getAllLedgers", offset, 50)
            assert page or not total
            yield from page
            offset += 50

    def place(self, user: str) -> int:
        """The user's position in the list of ledgers as the user's own word has it, plus one."""
        slot = load("LedgerManager").storage_layout["storage_layout"]["_words"]["slot"]
        key = int.from_bytes(keccak(encode(["uint256", "address"], [slot, user])), "big")
        return self.evm.storage(self.ledger.address, key) >> 96 & (1 << 40) - 1

    def check_books(self) -> None:
        """Coins held are what is available; totals are what is available and what the services hold; the list of
        ledgers and the ledgers agree."""
        every = list(self.ledgers())
        users = [one["user"] for one in every]
        assert len(set(users)) == len(users)
        assert [self.place(user) for user in users] == list(range(1, len(users) + 1))
        assert self.evm.balance(self.ledger.address) == sum(one["availableBalance"] for one in every) + self.forced
        if any(service.scripted for service in self.services):
            return
        for one in every:
            user = one["user"]
            held = sum(service.held(user, self.providers(user, service.name)) for service in self.services)
            for service in self.ours:
                accounts, _ = service.ask("getAccountsByUser", user, 0, 50)
                held += sum(account["balance"] for account in accounts)
            assert one["totalBalance"] == one["availableBalance"] + held


def new_world(kind: type[Evm] = FASTEST) -> World:
    evm = kind()
    owner = evm.account("owner")
    ledger = behind_front(evm, "LedgerManager", MIN_ACCOUNT, MIN_TRANSFER, owner=owner, initialize=(owner,))
    user, provider, second, stranger = (evm.account(name) for name in ("user", "provider", "second", "stranger"))
    return World(evm, ledger, owner, user, provider, second, stranger)


def reason(answer: bytes, ledger: Contract) -> Decoded | None:
    """The ledger's error in revert data."""
    return ledger.interface.decode_error(answer)
