# SPDX-License-Identifier: Apache-2.0
"""Keys are encrypted, private to their owner, and never shown."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest
from eth_account import Account

from serving_network.errors import InvalidInput, KeyFailure, UnknownName, WrongPassword
from serving_network.wallet.keys import KeyStore, key_from_environment, key_from_stream, password_from_environment
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


def test_a_damaged_file_is_reported(store: KeyStore) -> None:
    kept = store.create("main", PASSWORD)
    kept.path.write_text("{")
    with pytest.raises(KeyFailure, match="cannot be read"):
        store.list()


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
