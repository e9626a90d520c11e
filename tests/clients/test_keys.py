# SPDX-License-Identifier: Apache-2.0
"""Keys are encrypted, private to their owner, and never shown."""

from __future__ import annotations

import io
import json
import stat
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from serving_network.errors import InvalidInput, KeyFailure, UnknownName, WrongPassword
from serving_network.wallet.keys import (
    KeyStore,
    decrypt,
    key_from_environment,
    key_from_stream,
    password_from_environment,
)
from serving_network.wallet.local import LocalSigner

KEY = "0x" + "ab" * 32
PASSWORD = "correct horse"


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys", scrypt_work=2)


def test_a_key_is_decrypted_with_its_password(store: KeyStore) -> None:
    kept = store.add("main", LocalSigner(KEY), PASSWORD)
    assert store.list() == [kept]
    assert store.unlock("main", PASSWORD).address == Account.from_key(KEY).address
    with pytest.raises(WrongPassword):
        store.unlock("main", "wrong")


def test_the_file_is_a_standard_keystore_for_its_owner_alone(store: KeyStore) -> None:
    kept = store.create("main", PASSWORD)
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.path.parent.stat().st_mode) == 0o700
    content = json.loads(kept.path.read_text())
    assert content["version"] == 3
    assert Account.from_key(Account.decrypt(content, PASSWORD)).address == kept.address


def test_a_file_that_other_users_may_read_is_refused(store: KeyStore) -> None:
    kept = store.create("main", PASSWORD)
    kept.path.chmod(0o644)
    with pytest.raises(KeyFailure) as failure:
        store.unlock("main", PASSWORD)
    assert failure.value.next_step == f"chmod 600 {kept.path}"


def test_names_are_unique_and_stay_in_the_directory(store: KeyStore) -> None:
    store.create("main", PASSWORD)
    with pytest.raises(InvalidInput):
        store.create("main", PASSWORD)
    for name in ("../main", "", "a/b", ".hidden", "x" * 65):
        with pytest.raises(InvalidInput):
            store.create(name, PASSWORD)
    with pytest.raises(InvalidInput):
        store.create("other", "")
    with pytest.raises(UnknownName):
        store.unlock("nobody", PASSWORD)


def test_removing(store: KeyStore) -> None:
    store.create("main", PASSWORD)
    store.remove("main")
    assert store.list() == []
    with pytest.raises(UnknownName):
        store.remove("main")


FOREIGN = {
    "damaged": "{",
    "a list": "[]",
    "another tool's": '{"name": "settings"}',
    "no-address": '{"crypto": {}, "version": 3}',
    "null-address": '{"address": null, "crypto": {}, "version": 3}',
    "UTC--2026-11-29T00:00:00Z--f39f": '{"address": "f39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "version": 3}',
}


def test_a_file_that_is_no_key_is_reported_and_stops_no_other(store: KeyStore) -> None:
    kept = store.create("main", PASSWORD)
    for name, content in FOREIGN.items():
        (store.directory / f"{name}.json").write_text(content)
    (store.directory / "a-folder.json").mkdir()
    assert store.list() == [kept]
    assert store.unlock("main", PASSWORD).address == kept.address
    failures = list(store.unreadable())
    assert len(failures) == len(FOREIGN) + 1
    assert all(failure.next_step for failure in failures)
    with pytest.raises(KeyFailure, match="cannot be read"):
        store.find("damaged")
    with pytest.raises(KeyFailure, match="does not say which address"):
        store.find("null-address")


@pytest.mark.parametrize("changes", [{"version": "3"}, {"address": None}, {"address": ""}, {"address": ...}])
def test_keystores_of_other_wallets_are_decrypted(changes: dict[str, object]) -> None:
    keystore = LocalSigner(KEY).encrypt(PASSWORD, 2) | changes
    keystore = {name: value for name, value in keystore.items() if value is not ...}
    assert decrypt(keystore, PASSWORD, "the file").address == Account.from_key(KEY).address
    with pytest.raises(WrongPassword):
        decrypt(keystore, "another", "the file")


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_a_password_is_the_same_however_its_accents_are_typed(store: KeyStore, form: Any) -> None:
    """A file of Ethers has the composed form, one of geth the form of the machine on which it was made."""
    typed = unicodedata.normalize(form, "pâ™sswörd")
    stored = store.create("main", typed)
    for other in ("NFC", "NFD", "NFKC"):
        assert store.unlock("main", unicodedata.normalize(other, typed)).address == stored.address
    raw = LocalSigner(KEY).encrypt(typed, 2)
    assert decrypt(raw, typed, "the file").address == decrypt(raw, unicodedata.normalize("NFC", typed), "it").address
    assert Account.decrypt(json.loads(stored.path.read_text()), unicodedata.normalize("NFKC", typed))


def test_keys_from_the_environment_and_standard_input() -> None:
    address = Account.from_key(KEY).address
    found = key_from_environment({"SERVING_PRIVATE_KEY": KEY + "\n"})
    assert found is not None
    assert found.address == address
    assert key_from_environment({}) is None
    assert key_from_stream(io.StringIO(KEY.removeprefix("0x") + "\nrest")).address == address
    assert password_from_environment({"SERVING_PASSWORD": "x"}) == "x"
    assert password_from_environment({}) is None


def test_a_key_is_never_shown() -> None:
    assert KEY[2:] not in repr(LocalSigner(KEY))
    bad = "0x" + "ab" * 31 + "zz"
    with pytest.raises(KeyFailure) as failure:
        LocalSigner(bad)
    assert "abab" not in str(failure.value)
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__


@pytest.mark.parametrize(("work", "kept"), [(4, True), (8, True), (2, False)])
def test_a_strong_keystore_is_stored_as_it_is_and_a_weak_one_encrypted_anew(
    tmp_path: Path, work: int, kept: bool
) -> None:
    signer = LocalSigner.create()
    foreign = signer.encrypt("a long password", work)
    store = KeyStore(tmp_path / "keys", scrypt_work=4)
    stored = store.add("main", signer, "a long password", foreign)
    assert (json.loads(stored.path.read_text())["crypto"] == foreign["crypto"]) is kept
    assert store.unlock("main", "a long password").address == signer.address
