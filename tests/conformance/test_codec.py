# SPDX-License-Identifier: Apache-2.0
"""The codec against eth-abi itself, against values it must refuse, and against bytes that no contract would send."""

import contextlib
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_utils import keccak, to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from serving_network.contracts import DecodedEvent, Interface, MalformedData, UnencodableArguments

USER = "0x" + "ab" * 20
PROVIDER = "0x" + "cd" * 20
REFUND: list[dict[str, Any]] = [{"name": "amount", "type": "uint256"}, {"name": "payee", "type": "address"}]
ACCOUNT: list[dict[str, Any]] = [
    {"name": "user", "type": "address"},
    {"name": "hash", "type": "bytes32"},
    {"name": "refunds", "type": "tuple[]", "components": REFUND},
    {"name": "info", "type": "string"},
]
INTERFACE = Interface(
    [
        {
            "type": "constructor",
            "inputs": [{"name": "minimum", "type": "uint256"}],
            "stateMutability": "nonpayable",
        },
        {
            "type": "function",
            "name": "store",
            "inputs": [
                {"name": "accounts", "type": "tuple[]", "components": ACCOUNT},
                {"name": "signature", "type": "bytes"},
                {"name": "flags", "type": "bool[2]"},
            ],
            "outputs": [{"name": "", "type": "tuple", "components": ACCOUNT}, {"name": "total", "type": "uint256"}],
            "stateMutability": "nonpayable",
        },
        {
            "type": "function",
            "name": "confirm",
            "inputs": [{"name": "provider", "type": "address"}],
            "outputs": [],
            "stateMutability": "nonpayable",
        },
        {
            "type": "function",
            "name": "confirm",
            "inputs": [{"name": "provider", "type": "address"}, {"name": "signer", "type": "address"}],
            "outputs": [],
            "stateMutability": "nonpayable",
        },
        {
            "type": "function",
            "name": "owners",
            "inputs": [],
            "outputs": [{"name": "", "type": "address[]"}],
            "stateMutability": "view",
        },
        {
            "type": "function",
            "name": "url",
            "inputs": [],
            "outputs": [{"name": "", "type": "string"}],
            "stateMutability": "view",
        },
        {
            "type": "event",
            "name": "Paid",
            "anonymous": False,
            "inputs": [
                {"name": "amount", "type": "uint256", "indexed": False},
                {"name": "user", "type": "address", "indexed": True},
                {"name": "memo", "type": "string", "indexed": True},
                {"name": "text", "type": "string", "indexed": False},
            ],
        },
        {"type": "error", "name": "TooMuch", "inputs": [{"name": "amount", "type": "uint256"}]},
        {"type": "receive", "stateMutability": "payable"},
    ]
)
TYPES = ["(address,bytes32,(uint256,address)[],string)[]", "bytes", "bool[2]"]
ADDRESSES = st.binary(min_size=20, max_size=20).map(to_checksum_address)
WORDS = st.integers(0, 2**256 - 1)
ACCOUNTS = st.fixed_dictionaries(
    {
        "user": ADDRESSES,
        "hash": st.binary(min_size=32, max_size=32),
        "refunds": st.lists(st.fixed_dictionaries({"amount": WORDS, "payee": ADDRESSES}), max_size=3),
        "info": st.text(st.characters(exclude_categories=["Cs"])),
    }
)


def _as_tuple(account: dict[str, Any]) -> tuple[Any, ...]:
    refunds = [(refund["amount"], refund["payee"]) for refund in account["refunds"]]
    return account["user"], account["hash"], refunds, account["info"]


@given(st.lists(ACCOUNTS, max_size=3), st.binary(), st.lists(st.booleans(), min_size=2, max_size=2))
def test_calls_are_encoded_as_eth_abi_does_and_come_back(
    accounts: list[dict[str, Any]], signature: bytes, flags: list[bool]
) -> None:
    tuples = [_as_tuple(account) for account in accounts]
    selector = keccak(text="store((address,bytes32,(uint256,address)[],string)[],bytes,bool[2])")[:4]
    data = INTERFACE.encode("store", accounts, signature, flags)
    assert data == selector + encode(TYPES, [tuples, signature, flags])
    assert data == INTERFACE.encode("store", tuples, signature, flags)
    call = INTERFACE.decode_call(data)
    assert call is not None
    assert call.name == "store"
    assert call.args == {"accounts": accounts, "signature": signature, "flags": flags}


@given(ACCOUNTS, WORDS)
def test_results_have_names_and_exact_integers(account: dict[str, Any], total: int) -> None:
    data = encode(["(address,bytes32,(uint256,address)[],string)", "uint256"], [_as_tuple(account), total])
    assert INTERFACE.decode_result("store", data) == (account, total)


@given(st.binary(max_size=600), st.sampled_from(["store", "owners", "url"]))
def test_a_result_of_any_bytes_is_read_or_refused_by_name(data: bytes, function: str) -> None:
    with contextlib.suppress(MalformedData):
        INTERFACE.decode_result(function, data)


@given(st.data())
def test_a_result_cut_short_is_refused(data: st.DataObject) -> None:
    whole = encode(["address[]"], [[USER, PROVIDER]])
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MalformedData):
        INTERFACE.decode_result("owners", whole[:cut])


def test_overloads_are_told_apart_by_their_number_of_arguments() -> None:
    one, two = INTERFACE.encode("confirm", PROVIDER), INTERFACE.encode("confirm", PROVIDER, USER)
    assert one[:4] == keccak(text="confirm(address)")[:4] == INTERFACE.selector("confirm", 1)
    assert two[:4] == keccak(text="confirm(address,address)")[:4] == INTERFACE.selector("confirm", 2)
    with pytest.raises(UnencodableArguments, match="takes 1 or 2 arguments, not 3"):
        INTERFACE.encode("confirm", PROVIDER, USER, USER)
    with pytest.raises(UnencodableArguments, match="takes 1 or 2 arguments"):
        INTERFACE.selector("confirm")
    assert INTERFACE.selector("owners") == keccak(text="owners()")[:4]


def test_an_interface_that_could_be_read_in_two_ways_is_refused() -> None:
    entry = {"type": "function", "name": "f", "inputs": [{"name": "a", "type": "uint256"}], "outputs": []}
    same_count = {**entry, "inputs": [{"name": "a", "type": "address"}]}
    other_result = {**entry, "inputs": [], "outputs": [{"name": "", "type": "bool"}]}
    for second in (same_count, other_result):
        with pytest.raises(ValueError, match="f is declared"):
            Interface([entry, second])


@pytest.mark.parametrize(
    "account",
    [
        {"user": USER, "hash": b"\1" * 31, "refunds": [], "info": ""},
        {"user": USER, "hash": b"\1" * 33, "refunds": [], "info": ""},
        {"user": USER, "hash": b"\1" * 32, "refunds": []},
        {"user": USER, "hash": b"\1" * 32, "refunds": [], "info": "", "extra": 1},
        {"user": USER[:-2], "hash": b"\1" * 32, "refunds": [], "info": ""},
        {"user": "0xABab" + "ab" * 18, "hash": b"\1" * 32, "refunds": [], "info": ""},
        {"user": USER, "hash": b"\1" * 32, "refunds": [{"amount": -1, "payee": USER}], "info": ""},
        {"user": USER, "hash": b"\1" * 32, "refunds": [{"amount": 2**256, "payee": USER}], "info": ""},
        {"user": USER, "hash": b"\1" * 32, "refunds": [{"amount": 1.0, "payee": USER}], "info": ""},
        {"user": USER, "hash": b"\1" * 32, "refunds": [{"amount": True, "payee": USER}], "info": ""},
        {"user": USER, "hash": b"\1" * 32, "refunds": [], "info": b"bytes"},
        {"user": 7, "hash": b"\1" * 32, "refunds": [], "info": ""},
        {"user": bytes(19), "hash": b"\1" * 32, "refunds": [], "info": ""},
        {"user": [], "hash": b"\1" * 32, "refunds": [], "info": ""},
        (USER, b"\1" * 32, []),
        7,
    ],
)
def test_values_that_do_not_fit_are_refused(account: Any) -> None:
    with pytest.raises(UnencodableArguments) as refused:
        INTERFACE.encode("store", [account], b"", [True, False])
    assert refused.value.cause


def test_unknown_functions_are_refused_and_unknown_selectors_are_none() -> None:
    with pytest.raises(UnencodableArguments, match="no function missing"):
        INTERFACE.encode("missing")
    with pytest.raises(UnencodableArguments, match="no function missing"):
        INTERFACE.decode_result("missing", b"")
    assert INTERFACE.decode_call(b"\xde\xad\xbe\xef") is None
    assert INTERFACE.decode_call(b"") is None


def test_an_empty_answer_says_that_there_may_be_no_contract() -> None:
    with pytest.raises(MalformedData, match="owners returned no data") as refused:
        INTERFACE.decode_result("owners", b"")
    assert refused.value.next_step
    assert INTERFACE.decode_result("confirm", b"") is None


def test_text_that_is_not_utf8_shows_its_bytes() -> None:
    assert INTERFACE.decode_result("url", encode(["bytes"], [b"http\xff\x00"])) == "http\\xff\x00"


def test_constructor_arguments() -> None:
    assert INTERFACE.encode_constructor(3) == encode(["uint256"], [3])
    with pytest.raises(UnencodableArguments):
        INTERFACE.encode_constructor()


def _log() -> dict[str, Any]:
    return {
        "address": USER,
        "topics": [
            "0x" + keccak(text="Paid(uint256,address,string,string)").hex(),
            "0x" + encode(["address"], [PROVIDER]).hex(),
            "0x" + keccak(text="memo").hex(),
        ],
        "data": "0x" + encode(["uint256", "string"], [5, "text"]).hex(),
        "blockNumber": "0x10",
        "transactionHash": "0x" + "11" * 32,
        "logIndex": "0x2",
    }


def test_an_event_as_json_rpc_shapes_it() -> None:
    assert INTERFACE.decode_log(_log()) == DecodedEvent(
        name="Paid",
        args={"amount": 5, "user": to_checksum_address(PROVIDER), "memo": keccak(text="memo"), "text": "text"},
        address=to_checksum_address(USER),
        block_number=16,
        transaction_hash="0x" + "11" * 32,
        log_index=2,
    )
    assert INTERFACE.topic("Paid") == keccak(text="Paid(uint256,address,string,string)")
    with pytest.raises(KeyError):
        INTERFACE.topic("Unpaid")


def test_events_of_others_are_none() -> None:
    assert INTERFACE.decode_log({**_log(), "topics": []}) is None
    assert INTERFACE.decode_log({**_log(), "topics": ["0x" + "00" * 32]}) is None


@pytest.mark.parametrize(
    "broken",
    [
        {"topics": _log()["topics"][:2]},
        {"topics": _log()["topics"] + ["0x" + "00" * 32]},
        {"topics": [_log()["topics"][0], "0x12", "0x34"]},
        {"topics": None},
        {"data": "0x"},
        {"data": "0xzz"},
        {"data": _log()["data"][:-64]},
        {"address": "0x12"},
        {"blockNumber": "ten"},
    ],
)
def test_a_broken_log_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(MalformedData):
        INTERFACE.decode_log({**_log(), **broken})
    missing = _log()
    for key in broken.keys() & {"address", "topics", "data"}:
        del missing[key]
        with pytest.raises(MalformedData):
            INTERFACE.decode_log(missing)


def test_errors_of_the_contract_and_of_every_contract() -> None:
    def revert(signature: str, types: list[str], values: list[Any]) -> bytes:
        return keccak(text=signature)[:4] + encode(types, values)

    ours = INTERFACE.decode_error(revert("TooMuch(uint256)", ["uint256"], [9]))
    plain = INTERFACE.decode_error(revert("Error(string)", ["string"], ["no"]))
    panic = INTERFACE.decode_error(revert("Panic(uint256)", ["uint256"], [17]))
    assert ours == ("TooMuch", {"amount": 9})
    assert plain == ("Error", {"message": "no"})
    assert panic == ("Panic", {"code": 17})
    for unknown in (b"", b"\x01", keccak(text="TooMuch(uint256)")[:4], keccak(text="Error(string)")[:4] + b"\xff" * 64):
        assert INTERFACE.decode_error(unknown) is None


def test_every_call_that_we_encode_eth_abi_reads() -> None:
    data = INTERFACE.encode("confirm", PROVIDER, USER)
    assert decode(["address", "address"], data[4:]) == (PROVIDER, USER)


KINDS = ("uint8", "uint96", "uint256", "address", "bool", "bytes32")
EVENT = Interface(
    [
        {
            "type": "event",
            "name": "Words",
            "inputs": [{"name": kind, "type": kind, "indexed": False} for kind in KINDS],
            "anonymous": False,
        }
    ]
)


@given(
    st.lists(
        st.one_of(
            st.integers(0, 2**256 - 1).map(lambda number: number.to_bytes(32, "big")),
            st.integers(0, 300).map(lambda number: number.to_bytes(32, "big")),
            st.binary(min_size=20, max_size=20).map(lambda address: bytes(12) + address),
        ),
        max_size=7,
    )
)
def test_values_of_a_word_each_are_read_as_eth_abi_does(words: list[bytes]) -> None:
    data = b"".join(words)
    expected: list[Any] | None = None
    with contextlib.suppress(Exception):
        expected = list(decode(KINDS, data))
    topic = keccak(text=f"Words({','.join(KINDS)})")
    if expected is None:
        with pytest.raises(MalformedData):
            EVENT.decode_event(USER, [topic], data)
        return
    expected[3] = to_checksum_address(expected[3])
    found = EVENT.decode_event(USER, [topic], data)
    assert found is not None
    assert list(found.args.values()) == expected
