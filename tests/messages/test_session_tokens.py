# SPDX-License-Identifier: Apache-2.0
"""How a provider checks a token: vectors of the published TypeScript client, and each check at its edge."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from eth_utils.crypto import keccak

from serving_network.contracts.models import Account
from serving_network.messages.session_tokens import (
    DAY_MS,
    LONGEST_HEADER,
    InvalidToken,
    SessionToken,
    check_bearer,
    check_revocation,
    check_token,
    read_token,
    sign_token,
)
from serving_network.wallet.local import LocalSigner
from tests.messages.vectors import CONTRACT, PROVIDER, USER

SIGNER = LocalSigner("0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a")
MADE_AT = 1764412800000
RAW = (
    '{"address":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC","provider":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8",'
    '"timestamp":1764412800000,"expiresAt":1764499200000,"nonce":"1764412800000-i00000000000000000","generation":0,'
    '"tokenId":255}'
)
SIGNATURE = (
    "0xf240c9015cccc48dc3d98424c0e06021f1053835142188ba91188c4b9feee9b4"
    "092d5628ca539667440a30d0d7960dcd1c435600ae4b3fa0b241b5f5c7b0b8701c"
)
TOKEN = (
    "app-sk-eyJhZGRyZXNzIjoiMHgzQzQ0Q2REZEI2YTkwMGZhMmI1ODVkZDI5OWUwM2QxMkZBNDI5M0JDIiwicHJvdmlkZXIiOiIweDcwOTk3OTcw"
    "QzUxODEyZGMzQTAxMEM3ZDAxYjUwZTBkMTdkYzc5QzgiLCJ0aW1lc3RhbXAiOjE3NjQ0MTI4MDAwMDAsImV4cGlyZXNBdCI6MTc2NDQ5OTIwMDAw"
    "MCwibm9uY2UiOiIxNzY0NDEyODAwMDAwLWkwMDAwMDAwMDAwMDAwMDAwMCIsImdlbmVyYXRpb24iOjAsInRva2VuSWQiOjI1NX18MHhmMjQwYzkw"
    "MTVjY2NjNDhkYzNkOTg0MjRjMGUwNjAyMWYxMDUzODM1MTQyMTg4YmE5MTE4OGM0YjlmZWVlOWI0MDkyZDU2MjhjYTUzOTY2NzQ0MGEzMGQwZDc5"
    "NjBkY2QxYzQzNTYwMGFlNGIzZmEwYjI0MWI1ZjVjN2IwYjg3MDFj"
)
NAMED_RAW = RAW.replace("1764499200000", "0").replace('"tokenId":255', '"tokenId":7')
NAMED_SIGNATURE = (
    "0x032e98592fa6195458c4dd6ac0c3ceb7087d352d09aba67a45fe0fc127ba2886"
    "50f8d55d6e80da86c71971c02507de3173b0b518b0deb9790c14822119ce646b1b"
)
SESSION = SessionToken(
    USER, PROVIDER, MADE_AT, MADE_AT + DAY_MS, "1764412800000-i00000000000000000", generation=0, token_id=255
)
ACCOUNT = Account(CONTRACT, USER, PROVIDER, 0, 10, 0, (), "", acknowledged=True)  # type: ignore[arg-type]


def header_of(raw: str, signature: str) -> str:
    return f"Bearer app-sk-{base64.b64encode(f'{raw}|{signature}'.encode()).decode()}"


def signed(**changes: Any) -> str:
    """A header whose JSON differs from the vector's, signed as it is."""
    content = json.loads(RAW) | changes
    raw = json.dumps({name: value for name, value in content.items() if value is not None})
    return header_of(raw, "0x" + SIGNER.sign_message(keccak(text=raw)).hex())


def check(header: str, now_ms: int = MADE_AT, account: Account | None = ACCOUNT, provider: str = PROVIDER) -> None:
    token, signer = read_token(header)
    check_token(token, signer, provider, account, now_ms)


def test_the_vector_of_a_session() -> None:
    assert header_of(RAW, SIGNATURE) == f"Bearer {TOKEN}"
    assert keccak(text=RAW).hex() == "e53c701c1dcc6b32cb7765d6f403c595f4456aa423dfb69efd448be6e43402a3"
    assert read_token(f"Bearer {TOKEN}") == (SESSION, USER)
    assert sign_token(SESSION, SIGNER) == f"Bearer {TOKEN}"
    check(f"Bearer {TOKEN}")


def test_the_vector_of_a_named_key() -> None:
    named = replace(SESSION, expires_at=0, token_id=7)
    assert read_token(header_of(NAMED_RAW, NAMED_SIGNATURE)) == (named, USER)
    check(header_of(NAMED_RAW, NAMED_SIGNATURE), MADE_AT + 10_000 * DAY_MS)


@pytest.mark.parametrize("header", [TOKEN, f"bearer {TOKEN}", f"BEARER   {TOKEN}", f"  Bearer {TOKEN}  "])
def test_the_scheme_is_read_without_case_and_may_be_missing(header: str) -> None:
    assert read_token(header) == (SESSION, USER)


@pytest.mark.parametrize("v", ["00", "01", "1b", "1c"])
def test_v_may_be_counted_from_0_or_27(v: str) -> None:
    _, signer = read_token(header_of(RAW, SIGNATURE[:-2] + v))
    assert (signer == USER) is (v in ("01", "1c"))


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer{TOKEN}", f"Bearer Bearer {TOKEN}", "Bearer sk-1",
        f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN}!", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN[:60]} {TOKEN[60:]}",
        header_of(RAW, ""), header_of(RAW, SIGNATURE[:-2]), header_of(RAW, SIGNATURE + "00"),
        header_of(RAW, SIGNATURE[:-2] + "1d"), header_of(RAW, "0x" + "00" * 65), header_of(RAW, "0x" + "ff" * 65),
        header_of(RAW, "|" + SIGNATURE), header_of(RAW.replace("-i0", "|i0"), SIGNATURE),
        header_of(RAW.replace('"tokenId"', '"tokenId":7,"tokenId"'), SIGNATURE), header_of("[" * 2000, SIGNATURE),
        "Bearer app-sk-" + base64.b64encode(b"\xff|0x").decode(), header_of("", SIGNATURE), header_of("[]", SIGNATURE),
    ],
)  # fmt: skip
def test_what_is_not_a_token_is_refused_with_401(header: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        read_token(header)
    assert refused.value.status == 401


def test_the_first_bar_ends_the_json() -> None:
    """A bar in the nonce makes the JSON incomplete, also when everything after the last bar is a signature of it."""
    raw = RAW.replace("-i0", "|i0")
    with pytest.raises(InvalidToken, match="cannot be read"):
        read_token(header_of(raw, "0x" + SIGNER.sign_message(keccak(text=raw)).hex()))


def test_the_header_has_a_longest_size() -> None:
    assert read_token(f"Bearer {TOKEN}".ljust(LONGEST_HEADER)) == (SESSION, USER)
    with pytest.raises(InvalidToken, match="longer than 8192"):
        read_token(f"Bearer {TOKEN}".ljust(LONGEST_HEADER + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"address": None}, {"nonce": None}, {"tokenId": "255"}, {"tokenId": True}, {"tokenId": -1}, {"tokenId": 256},
        {"timestamp": 1.5}, {"timestamp": -1}, {"timestamp": 2**53}, {"expiresAt": -1}, {"expiresAt": 2**53},
        {"generation": -1}, {"generation": 2**64}, {"nonce": "n" * 257}, {"nonce": 1}, {"address": USER[2:]},
        {"address": USER + "\n"}, {"address": "0X" + USER[2:]}, {"provider": "0x" + "g" * 40}, {"provider": ""},
    ],
)  # fmt: skip
def test_a_field_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        read_token(signed(**changes))


def test_extra_fields_and_other_orders_are_accepted() -> None:
    check(signed(label="laptop"))
    content = dict(reversed(json.loads(RAW).items()))
    raw = json.dumps(content, indent=1)
    check(header_of(raw, "0x" + SIGNER.sign_message(keccak(text=raw)).hex()))


def test_addresses_are_normalised_whatever_their_case() -> None:
    token, signer = read_token(signed(address=USER.lower(), provider="0x" + PROVIDER[2:].upper()))
    assert (token.address, token.provider, signer) == (USER, PROVIDER, USER)
    check_bearer(token, signer, PROVIDER.lower(), MADE_AT)


def test_only_the_user_can_sign() -> None:
    forged = RAW.replace('"generation":0', '"generation":1')
    with pytest.raises(InvalidToken, match="signed it"):
        check(header_of(forged, SIGNATURE))
    with pytest.raises(InvalidToken, match="signed it"):
        check(signed(address=PROVIDER))


def test_the_signature_is_checked_before_anything_else() -> None:
    wrong = signed(address=PROVIDER, provider=USER, timestamp=2**53 - 1, expiresAt=1, generation=9)
    with pytest.raises(InvalidToken, match="signed it"):
        check(wrong, account=None)


def test_a_token_is_for_one_provider() -> None:
    with pytest.raises(InvalidToken, match="not for"):
        check(f"Bearer {TOKEN}", provider=USER)


def test_a_token_made_in_the_future_is_refused_after_five_minutes() -> None:
    check(f"Bearer {TOKEN}", MADE_AT - 300_000)
    with pytest.raises(InvalidToken, match="in the future"):
        check(f"Bearer {TOKEN}", MADE_AT - 300_001)


@pytest.mark.parametrize(
    ("lifetime", "accepted"), [(1, True), (DAY_MS, True), (DAY_MS + 1, False), (0, False), (-1, False)]
)
def test_a_session_lasts_at_most_24_hours(lifetime: int, accepted: bool) -> None:
    header = signed(expiresAt=MADE_AT + lifetime)
    if accepted:
        check(header)
    else:
        with pytest.raises(InvalidToken, match="24 hours"):
            check(header)


def test_a_session_always_expires_and_a_named_key_need_not() -> None:
    with pytest.raises(InvalidToken, match="24 hours"):
        check(signed(expiresAt=0))
    check(signed(expiresAt=0, tokenId=254))
    check(signed(expiresAt=MADE_AT + 100 * DAY_MS, tokenId=0))


@pytest.mark.parametrize("token_id", [255, 7])
def test_a_token_expires_a_second_after_its_time(token_id: int) -> None:
    header = signed(tokenId=token_id)
    check(header, SESSION.expires_at + 999)
    with pytest.raises(InvalidToken, match="expired"):
        check(header, SESSION.expires_at + 1_000)


@pytest.mark.parametrize(("generation", "reason"), [(1, None), (0, "revoked"), (2, "of generation 2")])
def test_the_generation_is_the_account_s(generation: int, reason: str | None) -> None:
    token, _ = read_token(signed(generation=generation))
    account = replace(ACCOUNT, generation=1)
    if reason is None:
        check_revocation(token, account)
    else:
        with pytest.raises(InvalidToken, match=reason):
            check_revocation(token, account)


def test_a_key_is_revoked_by_its_own_bit() -> None:
    header = signed(tokenId=7, expiresAt=0)
    check(header, account=replace(ACCOUNT, revoked_bitmap=(2**255 - 1) ^ 1 << 7))
    with pytest.raises(InvalidToken, match="Token 7 is revoked"):
        check(header, account=replace(ACCOUNT, revoked_bitmap=1 << 7))


def test_a_user_without_an_account_is_refused() -> None:
    with pytest.raises(InvalidToken, match="no account"):
        check(f"Bearer {TOKEN}", account=None)
