# SPDX-License-Identifier: Apache-2.0
"""The commands around the journal, end to end: real contracts, a home with keys in the environment.

They ask the chain itself. `test_demo` has commands that ask over HTTP, as `test_killed` has runs.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serving_network.chain.transport import InProcessTransport, Transport, transport_to
from serving_network.cli.main import app
from serving_network.errors import RpcError
from serving_network.files import lock
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.messages.typed_data import TEESettlement, UserSettlement
from tests.settlement.stage import COIN, PROVIDER, TEE, USERS, prepare_in_process

URL = "http://127.0.0.1:1"
LEDGER = "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"
ANN, BEN, EVE = (USERS[number].address for number in range(3))
Row = tuple[str, str, int]


class Node(EmbeddedChain):
    """A chain that may refuse some questions."""

    refused: str = ""
    refused_after: str = ""
    mines_after: str = ""

    def request(self, method: str, params: Any = ()) -> Any:
        if method == self.refused and not self.refused_after:
            raise RpcError(-32601, f"the method {method} is not available")
        if method == self.refused_after:
            self.refused_after = ""
        answer = super().request(method, params)
        if method == self.mines_after:
            super().request("evm_mine", [])
        return answer


class House:
    """A provider's home, and the chain behind it."""

    def __init__(self, node: Node, home: Path) -> None:
        self.node = node
        self.home = home

    def __call__(self, *words: str, code: int = 0) -> str:
        ended = CliRunner().invoke(app, list(words))
        assert ended.exit_code == code, ended.output
        return ended.output

    def json(self, *words: str, code: int = 0) -> Any:
        ended = CliRunner().invoke(app, [*words, "--json"])
        assert ended.exit_code == code, ended.output
        return json.loads(ended.stdout)

    def settle(self, *rows: Row, code: int = 0, options: tuple[str, ...] = ()) -> Any:
        log = self.home / "usage.jsonl"
        told = [{"id": key, "user": user, "time": 1, "fee": fee} for key, user, fee in rows]
        log.write_text("".join(json.dumps(one) + "\n" for one in told))
        return self.json("settle", str(log), *options, code=code)

    @property
    def journal(self) -> Path:
        (found,) = (self.home / "settlements").glob("*.journal")
        return found

    def lose_journal(self, copy: Path | None = None) -> None:
        """Delete the journal with its companions; put a copy in its place."""
        place = self.journal
        for one in place.parent.glob(place.name + "*"):
            one.unlink()
        if copy is not None:
            copy.rename(place)

    def balance(self, user: str) -> int:
        (account,) = self.json("account", "list", "--user", user)
        return int(account["balance"]["wei"])

    def rpc(self, method: str, *params: Any) -> Any:
        return self.node.request(method, list(params))

    def send_otherwise(self, user: str, fee: int, nonce: int) -> None:
        """Settle with another program: a signature of the same TEE, over a hash that is not ours."""
        service = next(one for one in self.json("registry", "list") if one["name"].startswith("inference"))
        row = UserSettlement(user, fee, nonce, b"\x09" * 32)
        signature = TEE.sign_typed(TEESettlement(PROVIDER.address, row), 31337, service["address"])
        entry = {
            "user": user,
            "totalFee": fee,
            "requestsHash": "0x" + row.requests_hash.hex(),
            "nonce": nonce,
            "signature": "0x" + signature.hex(),
        }
        path = self.home / "signed.json"
        path.write_text(json.dumps([entry]))
        assert self.json("settlement", "send", str(path), "--yes")["outcomes"][0]["status"] == "SUCCESS"


def ask_without_http(patch: pytest.MonkeyPatch, node: Node) -> None:
    """Let commands that connect to URL ask the node."""

    def transport(url: str, timeout: float) -> Transport:
        return InProcessTransport(node) if url == URL else transport_to(url, timeout)

    patch.setattr("serving_network.chain.reading.transport_to", transport)


@pytest.fixture(scope="module")
def node() -> Node:
    chain = Node()
    prepare_in_process(chain, USERS[:3], COIN)
    return chain


@pytest.fixture(scope="module")
def new_home(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that uses the chain's network, for tests to copy."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVING_HOME", str(home))
        patch.delenv("SERVING_NETWORK", raising=False)
        ask_without_http(patch, node)
        made = House(node, home)
        made("network", "add", "here", "--url", URL, "--chain-id", "31337", "--ledger", LEDGER)
        made("network", "use", "here")
    return home


@pytest.fixture
def house(node: Node, new_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    ask_without_http(monkeypatch, node)
    shutil.copytree(new_home, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("SERVING_HOME", str(tmp_path))
    monkeypatch.setenv("SERVING_PRIVATE_KEY", "0x" + development_keys()[1].to_bytes().hex())
    monkeypatch.setenv("SERVING_TEE_KEY", "07" * 32)
    monkeypatch.delenv("SERVING_NETWORK", raising=False)
    snapshot = node.request("evm_snapshot", [])
    yield House(node, tmp_path)
    node.refused = node.refused_after = node.mines_after = ""
    node.request("evm_setAutomine", [True])
    assert node.request("evm_revert", [snapshot])


LOG: tuple[Row, ...] = (("a", ANN, 10), ("b", BEN, 20), ("c", ANN, 5))


def test_after_a_lost_journal_only_new_requests_are_paid(house: House) -> None:
    assert house.settle(*LOG)["total"]["paid"] == "35"
    house.lose_journal()
    more = (*LOG, ("d", ANN, 3), ("e", EVE, 4))
    stopped = house.settle(*more, code=11)
    assert (stopped["total"]["paid"], stopped["total"]["unsettled"]) == ("4", "38")
    assert {one["status"] for one in stopped["users"] if one["user"] != EVE} == {"unknown settlement"}
    assert "run serving settlement adopt" in house("settle", code=11)
    dry = house.json("settlement", "adopt", "--dry-run")
    assert dry["dry_run"]
    assert house.settle(*more, code=11)["total"]["paid"] == "0"
    house("settlement", "adopt", code=2)
    found = house.json("settlement", "adopt", "--yes")["settlements"]
    assert [(one["user"], one["result"], one["covered"]["wei"], one["requests"]) for one in found] == [
        (ANN, "matched", "15", 2),
        (BEN, "matched", "20", 1),
    ]
    assert "nothing to adopt" in house("settlement", "adopt", "--yes")
    assert house.settle(*more)["total"]["paid"] == "3"
    assert [COIN - house.balance(user) for user in (ANN, BEN, EVE)] == [18, 20, 4]


def test_an_older_backup_is_restored(house: House) -> None:
    house.settle(*LOG)
    backup = house.home / "backups" / "one"
    told = house.json("settlement", "backup", str(backup))
    assert (told["requests"], told["users"], told["bytes"]) == (3, 2, backup.stat().st_size)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert list(backup.parent.iterdir()) == [backup]
    more = (*LOG, ("d", ANN, 3))
    assert house.settle(*more)["total"]["paid"] == "3"
    house.lose_journal(backup)
    assert house.settle(*more, ("e", ANN, 2), code=11)["total"]["unsettled"] == "5"
    text = house("settlement", "adopt", ANN, "--yes")
    assert "the requests hash matches" in text
    assert house.settle(*more, ("e", ANN, 2))["total"]["paid"] == "2"
    assert COIN - house.balance(ANN) == 20


def test_a_provider_who_settled_with_another_program_before(house: House) -> None:
    house.send_otherwise(ANN, 100, 7)
    house.send_otherwise(BEN, 12, 8)
    assert house.settle(*LOG, code=11)["total"]["paid"] == "0"
    listed = house.json("settlement", "adopt", "--yes", code=11)["settlements"]
    assert [(one["result"], one["booked"], one["fee"]["wei"], one["nonce"]) for one in listed] == [
        ("undecided", False, "100", "7"),
        ("undecided", False, "12", "8"),
    ]
    assert all(one["transaction"].startswith("0x") and one["block"] for one in listed)
    house("settlement", "adopt", "--paid-before", "--covers", "1 wei", code=2)
    house("settlement", "adopt", "--covers", "1 wei", "--yes", code=2)
    house("settlement", "adopt", BEN, "--covers", "13 wei", "--yes", code=2)
    house("settlement", "adopt", EVE, "--yes", code=2)
    (covered,) = house.json("settlement", "adopt", BEN, "--covers", "12 wei", "--yes")["settlements"]
    assert (covered["result"], covered["covered"]["wei"]) == ("covers", "12")
    (before,) = house.json("settlement", "adopt", "--paid-before", "--yes")["settlements"]
    assert (before["user"], before["result"]) == (ANN, "paid_before")
    assert house.settle(*LOG)["total"]["paid"] == "23"
    assert (COIN - house.balance(ANN), COIN - house.balance(BEN)) == (115, 20)


def test_adopting_needs_a_journal_and_refuses_a_chain_that_is_behind(house: House) -> None:
    assert "serving settle USAGE" in house("settlement", "adopt", code=3)
    snapshot = house.rpc("evm_snapshot")
    house.settle(*LOG)
    house.rpc("evm_revert", snapshot)
    found = house.json("settlement", "adopt", "--paid-before", "--yes", code=5)["settlements"]
    assert {one["result"] for one in found} == {"behind"}


def test_a_stuck_transaction_is_cancelled_and_its_users_are_settled_again(house: House) -> None:
    assert "nothing to cancel" not in house("settlement", "cancel", "--yes", code=3)
    house.rpc("evm_setAutomine", False)
    stuck = house.settle(*LOG, code=8, options=("--give-up-after", "0.3"))
    assert stuck["stopped_by"]["transaction"].startswith("0x")
    listed = house.json("settlement", "list")["batches"]
    assert [(one["state"], one["why"].startswith("waiting for transaction 0x")) for one in listed] == [
        ("waiting", True)
    ]
    plan = house.json("settlement", "cancel", "--dry-run")
    assert [one["waiting"] for one in plan["plan"]["nonces"]] == [stuck["stopped_by"]["transaction"]]
    refused = house("settlement", "cancel", "--yes", "--max-fee", "1.2 gwei", code=6)
    assert "the cap is 1.2 gwei" in refused
    assert "--max-fee" in refused
    house("settlement", "cancel", code=2)
    house("settlement", "cancel", "5", "--yes", code=2)
    pending = house.json("settlement", "list")["batches"][0]["transactions"]
    assert [(one["purpose"], one["max_fee_per_gas"]) for one in pending] == [("carry", pending[0]["max_fee_per_gas"])]
    text = house("settlement", "cancel", "--yes", "--give-up-after", "0.3", code=8)
    assert "Run serving settlement cancel again" in text
    house.rpc("evm_mine")
    assert "nothing to cancel" in house("settlement", "cancel", "--yes")
    house.rpc("evm_setAutomine", True)
    assert house.balance(ANN) == COIN
    assert house.json("settlement", "list")["batches"][0]["state"] == "cancelled, not final"
    report = house.settle(*LOG)
    assert (report["total"]["paid"], report["total"]["taken_up"]["paid"]) == ("35", "0")
    assert (COIN - house.balance(ANN), COIN - house.balance(BEN)) == (15, 20)
    assert house.json("settlement", "list")["batches"][0]["state"] == "ended"


def test_a_cancellation_is_completed(house: House) -> None:
    house.rpc("evm_setAutomine", False)
    house.settle(*LOG, code=8, options=("--give-up-after", "0.2"))
    house.node.mines_after = "eth_sendRawTransaction"
    told = house.json("settlement", "cancel", "1", "--yes")
    (place,) = told["plan"]["nonces"]
    (sent,) = told["done"]["sent"]
    assert (place["batch"], place["nonce"], sent["nonce"]) == (1, place["nonce"], place["nonce"])
    assert (told["done"]["paid"]["wei"], told["done"]["waiting"], told["done"]["gas"]) == ("0", [], 21_000)
    house.rpc("evm_setAutomine", True)
    assert house.settle(*LOG)["total"]["paid"] == "35"
    assert (COIN - house.balance(ANN), COIN - house.balance(BEN)) == (15, 20)


def test_a_voided_request_is_never_charged(house: House) -> None:
    unread = house("settlement", "void", "a", "--reason", "late", "--yes", code=3)
    assert "row out of the log" in unread
    assert "serving settle" not in unread, "it would charge the request"
    house.settle(("a", ANN, 10), code=0)
    house.settle(("a", ANN, 10), ("b", ANN, 5), ("c", ANN, 2), options=("--min-fee", "8 wei"), code=11)
    house("settlement", "void", "b", code=2)
    house("settlement", "void", "b", "--reason", " ", "--yes", code=2)
    house("settlement", "void", "b", "--reason", "empty answer", code=2)
    assert "is paid" in house("settlement", "void", "a", "--reason", "late", "--yes", code=2)
    unread = house("settlement", "void", "zzz", "--reason", "late", "--yes", code=2)
    assert "is not recorded" in unread
    assert "row out of the log" in unread
    assert "Nothing was written" in house("settlement", "void", "b", "--reason", "empty answer", "--dry-run")
    told = house.json("settlement", "void", "b", "--reason", "empty answer", "--yes")
    assert (told["user"], told["fee"]["wei"], told["reason"]) == (ANN, "5", "empty answer")
    assert "already void" in house("settlement", "void", told["request"], "--reason", "again", "--yes", code=2)
    assert house.settle(("a", ANN, 10), ("b", ANN, 5), ("c", ANN, 2))["total"]["paid"] == "2"
    (void,) = house.json("settlement", "list")["voids"]
    assert (void["request"], void["reason"], void["fee"]["wei"]) == (told["request"], "empty answer", "5")
    assert "empty answer" in house("settlement", "list")
    assert COIN - house.balance(ANN) == 12


def test_a_backup_is_consistent_while_another_program_writes(house: House) -> None:
    house.settle(*LOG)
    writer = sqlite3.connect(house.journal, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE user SET owed = '999'")
    told = house.json("settlement", "backup", str(house.home / "copy"))
    assert told["requests"] == 3
    assert house.json("settlement", "list")["open"] == []
    writer.execute("ROLLBACK")
    writer.close()
    copy = sqlite3.connect(house.home / "copy")
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert copy.execute("SELECT count(*) FROM user WHERE owed = '999'").fetchone() == (0,)
    copy.close()
    before = (house.home / "copy").read_bytes()
    assert "exists" in house("settlement", "backup", str(house.home / "copy"), code=2)
    assert (house.home / "copy").read_bytes() == before


def test_writing_fails_during_a_run_and_reading_needs_no_lock(house: House) -> None:
    house.settle(*LOG)
    with lock(house.journal.with_suffix(".lock")):
        for words in (["void", "a", "--reason", "x"], ["adopt"], ["cancel"]):
            assert "Another settlement of this provider is running" in house("settlement", *words, "--yes", code=6)
        house("settlement", "list")
        house("settlement", "backup", str(house.home / "copy"))


def test_reading_needs_no_key_and_with_a_path_needs_no_node(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.settle(*LOG)
    monkeypatch.delenv("SERVING_PRIVATE_KEY")
    house("settlement", "list", code=4)
    assert len(house.json("settlement", "list", "--key", PROVIDER.address)["batches"]) == 1
    house("settlement", "adopt", "--key", PROVIDER.address, "--yes")
    house("network", "add", "nowhere", "--url", "http://127.0.0.1:9", "--chain-id", "31337", "--ledger", LEDGER)
    offline = ("--network", "nowhere", "--journal", str(house.journal))
    assert len(house.json("settlement", "list", *offline)["batches"]) == 1
    house("settlement", "backup", str(house.home / "copy"), *offline)
    house("settlement", "void", "x", "--reason", "y", "--yes", *offline, code=2)
    assert "There is no journal" in house("settlement", "list", "--journal", str(house.home / "none"), code=3)
    (house.home / "text").write_text("no database")
    house("settlement", "list", "--journal", str(house.home / "text"), code=3)


def test_a_run_reports_payments_without_the_nodes_events(house: House) -> None:
    house.node.refused, house.node.refused_after = "eth_getLogs", "eth_sendRawTransaction"
    report = house.settle(*LOG)
    assert (report["total"]["paid"], report["stopped_by"]) == ("35", None)
    house("settlement", "books", code=5)
    assert (COIN - house.balance(ANN), COIN - house.balance(BEN)) == (15, 20)
    report = house.settle(*LOG, ("d", ANN, 1))
    assert report["total"]["paid"] == "1"
    assert any("eth_getLogs is not available" in note for note in report["notes"])
    assert (COIN - house.balance(ANN), COIN - house.balance(BEN)) == (16, 20)


def test_books_balance_and_report_a_contract_that_holds_less(house: House) -> None:
    house.settle(*LOG)
    lines = house.json("settlement", "books")
    assert [(one["contract"], one["surplus"]["wei"]) for one in lines] == [("ledger", "0"), ("inference-v1.0", "0")]
    assert house("settlement", "books").count("balanced") == 2
    held = int(lines[1]["held"]["wei"])
    house.rpc("anvil_setBalance", lines[1]["address"], hex(held - 1))
    assert house.json("settlement", "books", code=9)[1]["surplus"]["wei"] == "-1"
    assert "SHORT" in house("settlement", "books", code=9)


def test_a_row_with_too_many_tokens_is_rejected(house: House) -> None:
    log = house.home / "usage.jsonl"
    row = {"id": "a", "user": ANN, "time": 1, "input_tokens": 10**7 + 1, "output_tokens": 0, "turned": "\u202e"}
    log.write_text(json.dumps(row, ensure_ascii=False))
    told = house.json("settle", str(log), code=10)
    rejects = Path(told["rejects"]).read_text()
    assert "--max-row" in rejects
    assert "\\u202e" in rejects
    assert rejects.rstrip("\n").isprintable()
    assert f"\n  line 1: {json.loads(rejects)['reason']}\n" in house("settle", str(log), "--dry-run", code=10)
    assert house.json("settle", str(log), "--max-row", "10000001")["total"]["paid"] == str(1_000_000 * (10**7 + 1))


def test_the_final_depth_is_an_option(house: House) -> None:
    house.settle(*LOG, options=("--final-depth", "5"))
    (batch,) = house.json("settlement", "list")["batches"]
    assert batch["state"] == "accepted, not final"
    house.settle(*LOG, options=("--final-depth", "5"))
    assert house.json("settlement", "list")["batches"][0]["why"].startswith("waiting for block")
    house.settle(*LOG)
    assert house.json("settlement", "list")["batches"][0]["state"] == "ended"
