# SPDX-License-Identifier: Apache-2.0
"""The codec against eth-abi itself, against values it must refuse, and against bytes that no contract would send."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_utils import keccak, to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.contracts import DecodedEvent, Interface, MalformedData, UnencodableArguments
from serving_network.contracts.codec import _type
from serving_network.contracts.reference import Reference
from serving_network.contracts.values import kind_of, sequence_of

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


def test_the_argument_that_does_not_fit_is_named() -> None:
    with pytest.raises(UnencodableArguments, match=r"^'yes' does not fit the argument flags of store\.$") as refused:
        INTERFACE.encode("store", [], b"", "yes")
    assert refused.value.next_step


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


LEAVES = st.sampled_from(
    ["uint256", "uint8", "int256", "int16", "bool", "address", "bytes32", "bytes3", "bytes", "string"]
)
PARAMETERS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    LEAVES.map(lambda kind: {"name": "leaf", "type": kind}),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["[]", "[2]"])).map(lambda two: {**two[0], "type": two[0]["type"] + two[1]}),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda members: {
                "name": "struct",
                "type": "tuple",
                "components": [one | {"name": f"member{place}"} for place, one in enumerate(members)],
            }
        ),
    ),
    max_leaves=5,
)


WORDS_AT_LIMITS = sorted(
    ((2**bits + off) % 2**256).to_bytes(32)
    for bits in (0, 1, 5, 6, 7, 8, 15, 16, 160, 161, 231, 232, 255, 256)
    for off in (-1, 0, 1)
)


def values_of(parameter: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the type takes, and some that it refuses."""
    kind = parameter["type"]
    if kind.endswith("]"):
        item, _, length = kind[:-1].rpartition("[")
        least, most = (int(length), int(length)) if length else (0, 3)
        return st.lists(values_of({**parameter, "type": item}), min_size=least, max_size=most)
    if kind == "tuple":
        members = parameter["components"]
        return st.fixed_dictionaries({one["name"]: values_of(one) for one in members}) | st.tuples(
            *(values_of(one) for one in members)
        )
    if kind.startswith("bytes") and kind != "bytes":
        return st.binary(min_size=int(kind[5:]), max_size=int(kind[5:]))
    if kind.startswith(("uint", "int")):
        bits = int(kind.lstrip("uint"))
        return st.integers(-1, 2**bits) if kind.startswith("u") else st.integers(-(2**bits) // 2 - 1, 2**bits // 2)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "bool": st.booleans() | st.just(1),
        "address": st.binary(min_size=20, max_size=20).flatmap(
            lambda raw: st.sampled_from(["0x" + raw.hex(), to_checksum_address(raw), raw, "0X" + raw.hex(), raw.hex()])
        ),
        "string": st.text(st.characters(), max_size=70) | st.just(b"text"),
        "bytes": st.binary(max_size=70) | st.just(bytearray(b"one")) | st.just("text"),
    }
    return simple[kind]


def outcome(work: Callable[[], Any]) -> Any:
    """What it returns, or that it refused."""
    try:
        return work()
    except ValueError:
        return ValueError


@settings(deadline=None)
@given(st.data())
def test_the_usual_form_is_encoded_and_decoded_as_eth_abi_does(data: st.DataObject) -> None:
    parameters = data.draw(st.lists(PARAMETERS, min_size=1, max_size=3))
    reference = Reference([_type(one) for one in parameters], parameters)
    usual = sequence_of([kind_of(one) for one in parameters])
    args = data.draw(st.tuples(*map(values_of, parameters)))

    encoded = outcome(lambda: reference.encode(args))
    assert outcome(lambda: usual.encode(args)) in (encoded, ValueError)
    if encoded is ValueError:
        encoded = data.draw(st.binary(max_size=300))
    else:
        assert usual.read(encoded, 0)[0] == list(reference.decode(encoded))
    start = 32 * data.draw(st.integers(0, len(encoded) // 32))
    word = data.draw(st.sampled_from(WORDS_AT_LIMITS) | st.binary(max_size=32))
    mutated = encoded[:start] + word + encoded[start + 32 :] + data.draw(st.binary(max_size=33))
    read = outcome(lambda: usual.read(mutated, 0)[0])
    assert read is ValueError or read == list(reference.decode(mutated))


@pytest.mark.parametrize("kind", ["uint256", "uint8", "int256", "int16", "bool", "address", "bytes32", "bytes3"])
@pytest.mark.parametrize("word", WORDS_AT_LIMITS, ids=bytes.hex)
def test_words_at_the_limits_of_their_type_are_read_or_refused_as_by_eth_abi(kind: str, word: bytes) -> None:
    parameter = {"name": "value", "type": kind}
    reference = Reference([kind], [parameter])
    assert outcome(lambda: [kind_of(parameter).read(word, 0)[0]]) == outcome(lambda: [*reference.decode(word)])


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
