# SPDX-License-Identifier: Apache-2.0
"""Files with mistakes that people write and edit: each is used as intended, or refused with a clear message."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.cli.files.offer import changed, read_offer
from serving_network.cli.files.settlements import read_settlements, read_task
from serving_network.contracts import artifacts
from serving_network.contracts.artifacts import ArtifactError
from serving_network.contracts.models import FineTuningOffer, Offer
from serving_network.deployment.errors import RecordProblem
from serving_network.deployment.spec import load_spec
from serving_network.errors import ConfigurationError, InvalidInput, KeyFailure, WrongPassword
from serving_network.localchain import EmbeddedChain
from serving_network.messages.session_tokens import PREFIX, TokenBook, read_token
from serving_network.money import parse_amount
from serving_network.networks import Configuration
from serving_network.wallet.keys import KeyStore, key_from_environment, key_from_stream
from serving_network.wallet.local import LocalSigner
from tests.outside.clear import done_or_clear, is_clear

ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
PASSWORD = "correct horse"
KEY = "0x" + "ab" * 32

NO_TEXT = {
    "not UTF-8": b"\xff\xfe\x00",
    "NUL bytes": b"\0" * 100,
    "nested deeper than any parser": b"a = " + b"[" * 5_000,
    "tables in tables": b"a = " + b"{a=" * 5_000,
    "cut": b"[networks.x",
    "a key twice": b"network = 'a'\nnetwork = 'b'\n",
    "a table twice": b"[networks.x]\n[networks.x]\n",
    "a date that is none": b"network = 2026-13-45\n",
}


def use(configuration: Configuration) -> None:
    """Use the file as all commands together do."""
    configuration.networks()
    configuration.network()
    configuration.network("x")
    configuration.addresses()
    assert isinstance(configuration.key_in_use, str | None)
    configuration.name_of(ADDRESS)


@pytest.mark.parametrize("content", NO_TEXT.values(), ids=NO_TEXT.keys())
def test_a_config_file_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(ConfigurationError) as failure:
        use(Configuration(tmp_path))
    is_clear(failure.value)
    assert str(tmp_path) in str(failure.value)


X = "[networks.x]\nurls = 'http://a'\nchain_id = 5\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (X.replace("urls", "url"), "'url'"),
        (X + "ledgr = '0x1'\n", "'ledgr'"),
        ("[network.x]\nurls = 'http://a'\nchain_id = 5\n", "no network named"),
        ("[adresses]\na = '0x1'\n", "'adresses'"),
        (X.replace("5", "5.0"), "chain_id"),
        (X.replace("5", "inf"), "chain_id"),
        (X.replace("5", "nan"), "chain_id"),
        (X.replace("5", "true"), "chain_id"),
        (X.replace("5", "-5"), "chain_id"),
        (X.replace("5", "'5'"), "chain_id"),
        (X.replace("5", "9" * 60), "chain_id"),
        (X.replace("'http://a'", "['http://a', 5]"), "urls"),
        (X.replace("'http://a'", "{a = 'http://a'}"), "urls"),
        (X + "ledger = 5\n", "not an address"),
        (X + f"ledger = '{ADDRESS.swapcase().replace('0X', '0x')}'\n", "checksum"),
        ("[networks]\nx = 5\n", "not a table"),
        (X + "[addresses]\na = 5\n", "address book"),
        (X + f"[addresses]\na = '{ADDRESS[:-1]}'\n", "address book"),
        ("addresses = []\n" + X, "'addresses'"),
        ("network = 5\n" + X, "no network named '5'"),
    ],
)
def test_a_config_file_with_wrong_values(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises((ConfigurationError, InvalidInput)) as failure:
        use(Configuration(tmp_path))
    is_clear(failure.value)
    assert says in f"{failure.value} {failure.value.cause}"


def test_a_byte_order_mark_and_crlf_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbf" + X.replace("\n", "\r\n").encode())
    use(Configuration(tmp_path))


@settings(max_examples=100)
@given(
    place=st.integers(0, 300),
    piece=st.one_of(st.binary(max_size=4), st.sampled_from([b"[", b"]]", b"= 5", b"\r", b"inf"])),
)
def test_a_config_file_with_random_values(tmp_path_factory: pytest.TempPathFactory, place: int, piece: bytes) -> None:
    folder = tmp_path_factory.mktemp("home")
    text = f"network = 'x'\nkey = 'main'\n{X}ledger = '{ADDRESS}'\n[addresses]\nfriend = '{ADDRESS}'\n".encode()
    place %= len(text)
    (folder / "config.toml").write_bytes(text[:place] + piece + text[place + len(piece) :])
    done_or_clear(lambda: use(Configuration(folder)))


# Network files

SPEC = f"""
[network]
chain_id = 7
[ledger]
min_account_balance = "0.1 coins"
min_transfer_amount = "7 wei"
owner = "{ADDRESS}"
[[service]]
contract = "InferenceServing"
type = "inference"
version = "v1.0"
description = "d"
lock_time = 3600
min_provider_stake = "100 coins"
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[[service]]", "[service]"),
        ('[[service]]\ncontract = "InferenceServing"', "service = 5\n[[other]]"),
        ("chain_id = 7", "chain_id = 7\nledger = 5"),
        ("[[service]]", "[[services]]"),
        ("chain_id = 7", "chain_id = inf"),
        ("chain_id = 7", "chain_id = true"),
        ("chain_id = 7", "chain_id = 7\nconfirmations = 0"),
        ('"7 wei"', '"' + "9" * 5000 + '"'),
        ('"7 wei"', '"1e9"'),
        ('"7 wei"', '"-1"'),
        ('"7 wei"', "inf"),
        ('"7 wei"', "true"),
        ('"7 wei"', "1979-05-27"),
        ('"7 wei"', "9" * 400),
        ("lock_time = 3600", "lock_time = 3600.0"),
        (ADDRESS, ADDRESS.lower()),
        (ADDRESS, ADDRESS[:-1]),
        ("[ledger]", "a = " + "[" * 5_000 + "\n[ledger]"),
    ],
)
def test_a_network_file_that_is_wrong_is_refused_with_its_name(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "net.toml"
    assert old in SPEC
    path.write_text(SPEC.replace(old, new, 1))
    with pytest.raises(RecordProblem) as failure:
        load_spec(path)
    is_clear(failure.value)
    assert str(path) in str(failure.value)


def test_a_network_file_that_is_a_directory_or_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dir.toml").mkdir()
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    for name in ("dir", "bad"):
        with pytest.raises(RecordProblem) as failure:
            load_spec(tmp_path / f"{name}.toml")
        is_clear(failure.value)
    (tmp_path / "good.toml").write_bytes(b"\xef\xbb\xbf" + SPEC.replace("\n", "\r\n").encode())
    assert load_spec(tmp_path / "good.toml").chain_id == 7


@pytest.mark.parametrize(
    "text",
    [
        "9" * 5000,
        "1e999999999",
        "0." + "0" * 5000 + "1",
        "٣",
        "\0",
        "nan",
        "inf",
        "--1",
        "1 \x1b[31m",
    ],
)
def test_an_invalid_amount_is_refused_quickly(text: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        parse_amount(text)
    is_clear(failure.value)


# Keys


@pytest.fixture(scope="module")
def keystore() -> dict[str, Any]:
    made: dict[str, Any] = LocalSigner(KEY).encrypt(PASSWORD, 2)
    return made


def kept(folder: Path, content: object) -> KeyStore:
    store = KeyStore(folder / "keys")
    store.directory.mkdir(exist_ok=True)
    path = store.directory / "main.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    path.chmod(0o600)
    return store


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"address": 5}',
        b'{"address": "zz"}',
        b'{"a": 1, "a": 2}',
        b'"address"',
    ],
)
def test_an_invalid_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    store = kept(tmp_path, content)
    failures = list(store.unreadable())
    for work in (lambda: store.find("main"), lambda: store.unlock("main", PASSWORD)):
        with pytest.raises(KeyFailure) as failure:
            work()
        failures.append(failure.value)
    assert len(failures) == 3
    for one in failures:
        is_clear(one)
        assert "main.json" in str(one)
    assert store.list() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda crypto: crypto.pop("mac"),
        lambda crypto: crypto.update(mac=5),
        lambda crypto: crypto.update(kdf="argon2"),
        lambda crypto: crypto.update(cipher="rot13"),
        lambda crypto: crypto.update(ciphertext="zz"),
        lambda crypto: crypto.update(cipherparams=[]),
        lambda crypto: crypto.update(kdfparams=None),
        lambda crypto: crypto["kdfparams"].update(n=2**40),
        lambda crypto: crypto["kdfparams"].update(n=2**20, p=2**20),
        lambda crypto: crypto["kdfparams"].update(n=3),
        lambda crypto: crypto["kdfparams"].update(salt="\ud800"),
        lambda crypto: crypto.update(
            kdf="pbkdf2", kdfparams={"c": 10**12, "dklen": 32, "prf": "hmac-sha256", "salt": "00"}
        ),
    ],
)
def test_a_damaged_key_file_is_not_a_wrong_password_and_does_not_exhaust_the_machine(
    tmp_path: Path, keystore: dict[str, Any], damage: Callable[[dict[str, Any]], object]
) -> None:
    content = json.loads(json.dumps(keystore))
    damage(content["crypto"])
    with pytest.raises(KeyFailure) as failure:
        kept(tmp_path, content).unlock("main", PASSWORD)
    is_clear(failure.value)
    assert not isinstance(failure.value, WrongPassword)
    assert PASSWORD not in f"{failure.value} {failure.value.cause}"


def test_a_key_file_mixed_from_two_is_refused(tmp_path: Path, keystore: dict[str, Any]) -> None:
    store = kept(tmp_path, keystore)
    assert store.unlock("main", PASSWORD).address == Account.from_key(KEY).address
    with pytest.raises(WrongPassword):
        store.unlock("main", "wrong")
    with pytest.raises(KeyFailure, match="its key is that of") as failure:
        kept(tmp_path, keystore | {"address": ADDRESS[2:].lower()}).unlock("main", PASSWORD)
    is_clear(failure.value)


def test_the_spelling_of_old_wallets_is_accepted(tmp_path: Path, keystore: dict[str, Any]) -> None:
    old = {("Crypto" if name == "crypto" else name): value for name, value in keystore.items()}
    assert kept(tmp_path, old).unlock("main", PASSWORD).address == Account.from_key(KEY).address


@pytest.mark.parametrize("text", ["", "0x", "zz" * 32, "00" * 32, "f" * 64, "ab" * 33, "\0" * 64, "\ud800", "٣" * 64])
def test_an_invalid_key_is_not_shown(text: str) -> None:
    with pytest.raises(KeyFailure) as failure:
        key_from_stream(io.StringIO(text))
    is_clear(failure.value)
    if text:
        with pytest.raises(KeyFailure):
            key_from_environment({"SERVING_PRIVATE_KEY": text})


# Input of a TEE and a user

SETTLEMENT: dict[str, Any] = {
    "user": ADDRESS,
    "totalFee": 5,
    "requestsHash": "0x" + "11" * 32,
    "nonce": 7,
    "signature": "0x" + "22" * 65,
}
TASK: dict[str, Any] = {
    "id": "task",
    "user": ADDRESS,
    "taskFee": "5 wei",
    "modelRootHash": "0x11",
    "encryptedSecret": "0x22",
    "nonce": 7,
    "signature": "0x" + "22" * 65,
}
ODD: list[Any] = [None, True, -1, 1.5, 1e400, [], {}, "", "0x", "0xzz", "\ud800", "9" * 5000, 2**300, "nan"]


@pytest.mark.parametrize("field", sorted(SETTLEMENT))
def test_a_settlement_with_one_odd_value_is_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "settlements.json"
    path.write_text(json.dumps([SETTLEMENT]))
    (good,) = read_settlements(path)
    assert (good.settlement.total_fee, good.settlement.nonce) == (5, 7)
    for odd in ODD:
        if field == "signature" and odd == "0x":
            continue
        path.write_text(json.dumps([SETTLEMENT, SETTLEMENT | {field: odd}]))
        with pytest.raises(ConfigurationError) as failure:
            read_settlements(path)
        is_clear(failure.value)


@pytest.mark.parametrize("field", sorted(TASK))
def test_a_task_with_one_odd_value_is_accepted_unchanged_or_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "task.json"
    for odd in ODD:
        path.write_text(json.dumps(TASK | {field: odd}))
        found = done_or_clear(lambda: read_task(path))
        if found is not None:
            assert isinstance(odd, str)
            assert field in ("id", "modelRootHash", "encryptedSecret", "signature")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"5",
        b"[5]",
        b"[[]]",
        b'{"user": 1}',
        b"\xff",
        b"[" * 100_000,
        b'[{"user": 1, "user": 2}]',
        b"[NaN]",
    ],
)
def test_a_file_without_a_settlement_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settlements.json"
    path.write_bytes(content)
    for read in (read_settlements, read_task):
        with pytest.raises(ConfigurationError) as failure:
            read(path)
        is_clear(failure.value)


INFERENCE = {
    "service_type": '"chatbot"',
    "url": '"https://a"',
    "model": '"m"',
    "verifiability": '"TeeML"',
    "input_price": '"100 wei"',
    "output_price": "200",
    "additional_info": '""',
    "tee_signer": f'"{ADDRESS}"',
}
TUNING = {
    "url": '"https://a"',
    "quota": '{cpu_count = 1, node_memory = 2, gpu_count = 3, node_storage = 4, gpu_type = "x"}',
    "price_per_token": "5",
    "occupied": "false",
    "models": '["a", "b"]',
    "tee_signer": f'"{ADDRESS}"',
}


@pytest.mark.parametrize(("service", "fields"), [("inference", INFERENCE), ("fine-tuning", TUNING)])
def test_an_offer_with_one_odd_value_is_refused(tmp_path: Path, service: str, fields: dict[str, str]) -> None:
    path = tmp_path / "offer.toml"

    def write(reported: dict[str, str]) -> None:
        path.write_text("".join(f"{name} = {value}\n" for name, value in reported.items()))

    write(fields)
    assert isinstance(read_offer(path, service), Offer | FineTuningOffer)
    for name in fields:
        for odd in ("[1]", "{a = 1}", "inf", "1.5", "1979-05-27", "true" if name != "occupied" else "1"):
            write(fields | {name: odd})
            with pytest.raises(ConfigurationError) as failure:
                read_offer(path, service)
            is_clear(failure.value)
    write(fields)
    if service == "fine-tuning":
        offer = read_offer(path, service)
        assert isinstance(changed(offer, {"occupied": "true"}), FineTuningOffer)
        with pytest.raises(ConfigurationError) as failure:
            changed(offer, {"models": "abc"})
        is_clear(failure.value)


TOKEN = {
    "chain_id": 1,
    "service": "inference-v1.0",
    "user": ADDRESS,
    "provider": ADDRESS,
    "token_id": 3,
    "generation": 0,
    "timestamp": 1,
    "expires_at": 0,
}


@pytest.mark.parametrize(
    "content",
    [
        b"[5]",
        b"{",
        b"[[]]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        *(json.dumps([TOKEN | {name: []}]).encode() for name in TOKEN),
    ],
)
def test_a_damaged_token_book_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps([TOKEN]))
    assert len(TokenBook(path).issued()) == 1
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as failure:
        TokenBook(path).issued()
    is_clear(failure.value)


@settings(max_examples=60)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([b"[" * 5000 + b"|0x", b"{}|0x" + b"11" * 65, b"\xff|", b"|", b'{"a":NaN}|0x']),
    )
)
def test_any_header_is_a_token_or_refused(content: bytes) -> None:
    for text in (content.decode("latin-1"), PREFIX + base64.b64encode(content).decode(), f"Bearer {PREFIX}é"):
        with pytest.raises(InvalidInput) as failure:
            read_token(text)
        is_clear(failure.value)


# Files of the build and the local chain


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda text: text[: len(text) // 2],
        lambda _: b"\xff",
        lambda _: b"[" * 100_000,
        lambda _: b"[]",
        lambda text: text.replace(b'"bytecode": "0x', b'"bytecode": "0xzz', 1),
        lambda text: json.dumps(json.loads(text) | {"bytecode": 5}).encode(),
        lambda text: json.dumps(json.loads(text) | {"abi": [{"type": "function"}]}).encode(),
        lambda text: json.dumps(json.loads(text) | {"abi": 5}).encode(),
        lambda text: json.dumps(json.loads(text) | {"abi": [5]}).encode(),
    ],
)
def test_a_damaged_artifact_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "UpgradeableBeacon.json"
    path.write_bytes(damage((artifacts.DIRECTORY / path.name).read_bytes()))
    with pytest.raises(ArtifactError) as failure:
        artifacts.read(path).interface  # noqa: B018 - reading it is the test
    is_clear(failure.value)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET body = substr(body, 1, 50)",
        "UPDATE entries SET body = '{}'",
        "UPDATE entries SET body = '[]'",
        'UPDATE entries SET body = replace(body, \'"accounts":[["\', \'"accounts":[["zz\')',
        "UPDATE meta SET value = '99' WHERE key = 'format'",
    ],
)
def test_a_damaged_private_chain_is_refused(tmp_path: Path, damage: str) -> None:
    chain = EmbeddedChain(state=tmp_path)
    chain.request("evm_mine", [])
    chain.close()
    (file,) = tmp_path.glob("*.sqlite3")
    with sqlite3.connect(file) as database:
        database.execute(damage)
    database.close()
    with pytest.raises(ConfigurationError) as failure:
        EmbeddedChain(state=tmp_path)
    is_clear(failure.value)
