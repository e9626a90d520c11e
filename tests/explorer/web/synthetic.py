# SPDX-License-Identifier: Apache-2.0
"""An index of a network that never was: as many services, users and settlements as are asked for, in SQLite.

python -m tests.explorer.web.synthetic PATH [--services 500] [--users 10000] [--settlements 100000]

Written by the index's own schema, not by its follower. The same numbers give the same index. Its texts are those of a
hostile provider wherever providers write texts.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from eth_utils import to_checksum_address

from serving_network.explorer.index.calls import BY_EVENTS, COUNTED
from serving_network.explorer.index.checked import checked_as_text
from serving_network.explorer.index.found import Checked, Coins
from serving_network.explorer.index.opening import Subject, writing
from serving_network.explorer.index.positions import position_of
from serving_network.money import WEI_PER_COIN
from serving_network.store.location import Location
from serving_network.store.schema import SET_FACT

CHAIN_ID: Final = 16_661
NOW: Final = 1_795_000_000
"""The time of the last block: 18 November 2026."""
DAYS: Final = 90
ROWS_OF_BATCH: Final = 50
LOCK_TIME: Final = 86_400
SPELLS: Final = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "\u202egnp.exe \u2066\u2067hidden\u2069",
    "W" * 4_096,
    '=HYPERLINK("http://evil.example","click")',
    "{{ 7 * 7 }}{% raw %}</td></tr></table>",
    "javascript:document.title='owned'",
    "line\nbreak\ttab\x01\x1b[31m",
)
"""What a hostile provider writes into every field that it can."""


@dataclass(frozen=True)
class Size:
    """How much there is."""

    services: int = 12
    users: int = 40
    settlements: int = 600


def address(kind: str, number: int) -> str:
    """An address that nobody has the key of."""
    return to_checksum_address(sha256(f"{kind} {number}".encode()).digest()[:20])


def transaction_hash(number: int) -> str:
    """The hash of a transaction that was never sent."""
    return "0x" + sha256(f"transaction {number}".encode()).hexdigest()


LEDGER: Final = address("ledger", 0)
INFERENCE: Final = address("service", 0)
FINE_TUNING: Final = address("service", 1)
BEACON: Final = address("beacon", 0)
LEDGER_BEACON: Final = address("beacon", 1)
OWNER: Final = address("owner", 0)
HOSTILE: Final = address("provider", 0)
PROVIDER: Final = address("provider", 1)
USER: Final = address("user", 0)


class _Writer:
    """Writes rows, by default each event in a transaction and a block of its own."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.chance = random.Random(1)
        self.rows: dict[str, list[tuple[Any, ...]]] = {}
        self.block = 100
        self.time = NOW - DAYS * 86_400
        self.log = 0
        self.tx = ""

    def add(self, table: str, *row: Any) -> None:
        self.rows.setdefault(table, []).append(row)

    def begin(self, seconds: int, sender: str, recipient: str, data: bytes = b"") -> None:
        """A block with one transaction."""
        self.block += 1 + seconds // 5
        self.time += seconds
        self.log = 0
        self.tx = transaction_hash(self.block)
        self.add("block", self.block, "0x" + sha256(str(self.block).encode()).hexdigest(), self.time)
        gas = self.chance.randrange(60_000, 900_000)
        self.add("tx", self.tx, position_of(self.block, 0), sender, recipient, "0", data, gas, str(gas * 10**9))

    def event(self, contract: str, name: str, user: str | None, provider: str | None, **args: Any) -> int:
        """An event of the transaction. Returns its position."""
        position = position_of(self.block, self.log)
        self.log += 1
        named = ({"user": user} if user else {}) | ({"provider": provider} if provider else {})
        self.add("event", position, self.tx, contract, name, user, provider, json.dumps(named | args))
        return position


def build(location: Location, size: Size | None = None) -> None:
    """Write the index, which must not exist yet."""
    size = size or Size()
    writer = _Writer(size)
    _contracts(writer)
    _offers(writer)
    balances = _users(writer)
    _settlements(writer, balances)
    writer.add("total", LEDGER, "ledgers", str(size.users))
    with writing(location, Subject(CHAIN_ID, "0x" + "00" * 32, LEDGER)) as db:
        db.begin()
        for table, rows in writer.rows.items():
            db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        facts = {
            "block": str(writer.block), "hash": "0x" + sha256(str(writer.block).encode()).hexdigest(),
            "time": str(writer.time), "head": str(writer.block), "looked_at": str(NOW), "checked": _checked(writer),
        }  # fmt: skip
        db.executemany(SET_FACT, facts.items())
        db.commit()


def _checked(writer: _Writer) -> str:
    """A check that found what the index says."""
    sums = {(contract, name): int(amount) for contract, name, amount in writer.rows["total"]}
    owed = {
        LEDGER: sums[LEDGER, "available"],
        INFERENCE: sums[INFERENCE, "balances"] + sums[INFERENCE, "stakes"],
        FINE_TUNING: 0,
    }
    coins = tuple(Coins(contract, contract, wei, wei) for contract, wei in owed.items())
    return checked_as_text(Checked(writer.block, "", NOW, {"accounts": 1}, 0, (), coins, ()))


def _contracts(writer: _Writer) -> None:
    writer.begin(0, OWNER, LEDGER)
    writer.add("contract", LEDGER, "ledger", "", "ledger", None, "", "", "", 0, None)
    for contract in (LEDGER, INFERENCE, FINE_TUNING, BEACON):
        position = writer.event(contract, "OwnershipTransferred", None, None, newOwner=OWNER)
        writer.add("setting", contract, "owner", OWNER, position, None, None)
    for contract, kind, version in ((INFERENCE, "inference", "v1.0"), (FINE_TUNING, "fine-tuning", "v1.1")):
        name = f"{kind}-{version}"
        position = writer.event(LEDGER, "ServiceRegistered", None, None, serviceName=name)
        writer.add("contract", contract, "service", kind, name, None, kind, version, f"Sells {kind}", position, None)
        writer.add("setting", contract, "lock_time", str(LOCK_TIME), position, None, None)
        writer.add("setting", contract, COUNTED, BY_EVENTS, position, None, None)
        writer.add("setting", LEDGER, f"recommended:{kind}", contract, position, None, None)
    position = writer.event(LEDGER, "BeaconUpgraded", None, None, beacon=LEDGER_BEACON)
    writer.add("contract", LEDGER_BEACON, "beacon", "", "ledger", LEDGER, "", "", "", position, None)
    writer.add("setting", LEDGER, "beacon", LEDGER_BEACON, position, None, None)
    position = writer.event(LEDGER_BEACON, "OwnershipTransferred", None, None, newOwner=OWNER)
    writer.add("setting", LEDGER_BEACON, "owner", OWNER, position, None, None)
    position = writer.event(LEDGER_BEACON, "OwnershipTransferStarted", None, None, newOwner=PROVIDER)
    writer.add("setting", LEDGER_BEACON, "pending_owner", PROVIDER, position, None, None)
    position = writer.event(LEDGER, "Upgraded", None, None, implementation=address("implementation", 1))
    writer.add("contract", BEACON, "beacon", "", "inference-v1.0", INFERENCE, "", "", "", position, None)
    writer.add("setting", INFERENCE, "beacon", BEACON, position, None, None)
    writer.begin(4_000, OWNER, BEACON)
    later = writer.event(BEACON, "Upgraded", None, None, implementation=address("implementation", 2))
    writer.add("setting", BEACON, "implementation", address("implementation", 1), position, later, None)
    writer.add("setting", BEACON, "implementation", address("implementation", 2), later, None, None)


def _offers(writer: _Writer) -> None:
    for number in range(writer.size.services):
        provider, hostile = address("provider", number), number == 0
        writer.begin(30, provider, INFERENCE)
        signer = address("signer", number)
        model = f"llama-3.{number % 4}-{(number % 7 + 1) * 8}b"
        texts = SPELLS if hostile else ("chatbot", f"https://provider-{number}.example/v1", model, "TeeML")
        price = 10**12 * (1 + number % 40)
        details = json.dumps({"service_type": texts[0], "verifiability": texts[3] if hostile else "TeeML"})
        info = "".join(SPELLS)[:5_000] if hostile else "{}"
        waiting = number % 29 == 2
        first = writer.event(INFERENCE, "ServiceUpdated", None, provider, model=texts[2], url=texts[1])
        position = writer.event(INFERENCE, "ServiceUpdated", None, provider, model=texts[2], url=texts[1])
        model = SPELLS[0] if hostile else model
        row = (INFERENCE, provider, texts[1])
        writer.add(
            "offer", *row, str(price * 2), str(price * 5), model, details, signer, 0, info, first, position, None
        )
        writer.add(
            "offer",
            *row,
            str(price),
            str(price * 4),
            model,
            details,
            signer,
            int(not waiting),
            info,
            position,
            None,
            None,
        )
        stake = 100 * WEI_PER_COIN
        writer.add("stake", INFERENCE, provider, str(stake), position, None)
    writer.add("total", INFERENCE, "providers", str(writer.size.services))
    writer.add("total", INFERENCE, "stakes", str(writer.size.services * 100 * WEI_PER_COIN))
    provider = address("provider", 1)
    position = writer.event(FINE_TUNING, "ServiceUpdated", None, provider, pricePerToken=300, updatedAt=1_795_000_000)
    details = json.dumps({"quota": {"cpuCount": 32, "gpuType": "H100"}, "occupied": False})
    writer.add(
        "offer", FINE_TUNING, provider, "https://provider-1.example", str(10**12), None, json.dumps(["qwen-2.5-0.5b"]),
        details, address("signer", 1), 1, None, position, None, None,
    )  # fmt: skip


def _users(writer: _Writer) -> dict[tuple[str, str], int]:
    """Ledgers and accounts. Returns the balances of the accounts."""
    balances: dict[tuple[str, str], int] = {}
    available = balance = pending = 0
    pause = 20 * 86_400 // max(1, writer.size.users)
    for number in range(writer.size.users):
        user = address("user", number)
        writer.begin(pause, user, LEDGER)
        wei = writer.chance.randrange(10**15, 40 * WEI_PER_COIN)
        available += wei
        position = writer.event(LEDGER, "Deposited", user, None, amount=str(wei))
        writer.add("ledger", user, str(wei), "".join(SPELLS) if number == 0 else "", position, None, None)
        for place in {number % writer.size.services, (number * 7 + 1) % writer.size.services, 1}:
            provider = address("provider", place)
            held = writer.chance.randrange(10**17, 20 * WEI_PER_COIN)
            back = held // 3 if number % 9 == 0 else 0
            refunds = [[str(back - back // 2), NOW - 200_000], [str(back // 2), NOW - 40_000]] if back else []
            balances[user, provider] = held
            balance, pending = balance + held, pending + back
            position = writer.event(INFERENCE, "BalanceUpdated", user, provider, amount=str(held))
            writer.add(
                "account", INFERENCE, user, provider, str(held), str(back), json.dumps(refunds), None, 1, 0, "",
                position, None, None,
            )  # fmt: skip
    for contract, name, wei in (
        (LEDGER, "available", available), (INFERENCE, "balances", balance), (INFERENCE, "pending", pending),
        (INFERENCE, "accounts", len(balances)),
    ):  # fmt: skip
        writer.add("total", contract, name, str(wei))
    return balances


def _settlements(writer: _Writer, balances: dict[tuple[str, str], int]) -> None:
    users_of: dict[str, list[str]] = {}
    for user, provider in balances:
        users_of.setdefault(provider, []).append(user)
    providers = sorted(users_of)
    busy = [address("provider", 1), HOSTILE]
    daily: dict[tuple[int, str], list[int]] = {}
    left, number = writer.size.settlements, 0
    began = writer.time
    while left > 0:
        provider = busy[number % 2] if number % 5 < 2 else providers[writer.chance.randrange(len(providers))]
        users = users_of.get(provider) or users_of[providers[0]]
        number += 1
        size = min(left, ROWS_OF_BATCH, len(users))
        left -= size
        done = writer.size.settlements - left
        then = began + (NOW - began) * done // writer.size.settlements
        writer.begin(then - writer.time, provider, INFERENCE, b"\x00" * 68)
        start = writer.chance.randrange(len(users))
        paid_in_all = fee_in_all = accepted = 0
        rows = []
        for place in range(size):
            user = users[(start + place) % len(users)]
            fee = writer.chance.randrange(10**14, 2 * WEI_PER_COIN)
            status = writer.chance.choices((0, 1, 4), (90, 8, 2))[0]
            paid = fee if status == 0 else fee // 2 if status == 1 else 0
            position = writer.event(INFERENCE, "BatchRowSettled", user, provider, paid=str(paid), status=status)
            rows.append((position, user, status, paid, fee))
            paid_in_all, fee_in_all, accepted = paid_in_all + paid, fee_in_all + fee, accepted + (status < 2)
        batch = writer.event(INFERENCE, "BatchSettled", None, provider, rows=size, paid=str(paid_in_all))
        for position, user, status, paid, fee in rows:
            writer.add(
                "settlement", position, INFERENCE, provider, user, "batch", batch, writer.tx, status, str(paid),
                str(fee), f"{number:020d}", "0x" + "ab" * 32, None, 0,
            )  # fmt: skip
        writer.add(
            "batch",
            batch,
            INFERENCE,
            provider,
            "batch",
            writer.tx,
            size,
            accepted,
            str(paid_in_all),
            str(fee_in_all),
            0,
        )
        day = daily.setdefault((writer.time // 86_400, provider), [0, 0])
        day[0] += accepted
        day[1] += paid_in_all
    for (when, provider), (settled, wei) in daily.items():
        writer.add("daily", when, INFERENCE, provider, settled, str(wei))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write an index of a network that never was.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--services", type=int, default=500)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--settlements", type=int, default=100_000)
    chosen = parser.parse_args()
    build(chosen.path, Size(chosen.services, chosen.users, chosen.settlements))


if __name__ == "__main__":
    main()
