# SPDX-License-Identifier: Apache-2.0
"""What a change of the storage layout may be, and each way in which it must be refused."""

from copy import deepcopy
from typing import Any

import pytest

from serving_network.deployment.layout import Layout, Refusal, compare

DEPLOYED: dict[str, Any] = {
    "storage_layout": {
        "ownable": {"owner": {"type": "address", "slot": 0, "n_slots": 1}},
        "accounts": {
            "words": {"type": "HashMap[bytes32, uint256]", "slot": 1, "n_slots": 1},
            "refunds": {"type": "HashMap[bytes32, DynArray[Refund, 5]]", "slot": 2, "n_slots": 1},
            "profiles": {"type": "HashMap[address, Profile]", "slot": 3, "n_slots": 1},
        },
        "lockTime": {"type": "uint256", "slot": 4, "n_slots": 1},
        "mode": {"type": "Mode", "slot": 5, "n_slots": 1},
    },
    "packed": {"accounts.words": [["balance", 93], ["pendingRefund", 93], ["nonce", 64]]},
    "structs": {
        "Refund": {"amount": "uint256", "createdAt": "uint256"},
        "Profile": {"url": "address", "price": "uint256"},
    },
    "flags": {"Mode": ["OPEN", "CLOSED"]},
}


def changed(*path: str, **values: Any) -> dict[str, Any]:
    """The deployed layout with the entries of one of its parts set; None removes an entry."""
    layout = deepcopy(DEPLOYED)
    part = layout
    for key in path:
        part = part[key]
    for key, value in values.items():
        if value is None:
            del part[key]
        else:
            part[key] = value
    return layout


def refusals(new: dict[str, Any], **renames: str) -> list[Refusal]:
    names = {key.replace("__", "."): value for key, value in renames.items()}
    return compare(Layout.from_artifact(DEPLOYED), Layout.from_artifact(new), names)


def word(kind: str, slot: int, slots: int = 1) -> dict[str, Any]:
    return {"type": kind, "slot": slot, "n_slots": slots}


def test_the_same_layout_is_accepted() -> None:
    assert refusals(DEPLOYED) == []


@pytest.mark.parametrize(
    "appended",
    [
        changed("storage_layout", added=word("uint256", 6)),
        changed(
            "packed", **{"accounts.words": [["balance", 93], ["pendingRefund", 93], ["nonce", 64], ["refunds", 3]]}
        ),
        changed("structs", Profile={"url": "address", "price": "uint256", "stars": "uint8"}),
        changed("flags", Mode=["OPEN", "CLOSED", "FROZEN"]),
        changed("structs", Unrelated={"x": "uint256"}),
    ],
    ids=["a variable", "bits of a packed word", "a field of a mapped struct", "a flag's member", "a new struct"],
)
def test_appending_is_accepted(appended: dict[str, Any]) -> None:
    assert refusals(appended) == []


def test_reordered_variables_are_refused_and_both_are_named() -> None:
    new = changed("storage_layout", lockTime=word("uint256", 5), mode=word("Mode", 4))
    assert [(one.kind, one.variable) for one in refusals(new)] == [("moved", "lockTime"), ("moved", "mode")]
    assert "from slot 4 to slot 5" in str(refusals(new)[0])


def test_a_retyped_variable_is_refused() -> None:
    (found,) = refusals(changed("storage_layout", lockTime=word("int256", 4)))
    assert (found.kind, found.variable) == ("retyped", "lockTime")
    assert "holds uint256 and would be read as int256" in found.reason


def test_a_removed_variable_is_refused() -> None:
    (found,) = refusals(changed("storage_layout", mode=None))
    assert (found.kind, found.variable) == ("removed", "mode")


def test_a_variable_inserted_before_others_is_refused_with_those_that_it_pushes() -> None:
    new = changed("storage_layout", extra=word("uint256", 4), lockTime=word("uint256", 5), mode=word("Mode", 6))
    assert {(one.kind, one.variable) for one in refusals(new)} == {
        ("inserted", "extra"),
        ("moved", "lockTime"),
        ("moved", "mode"),
    }


def test_a_variable_that_grows_over_its_neighbour_is_refused() -> None:
    new = changed("storage_layout", lockTime=word("uint256[2]", 4, 2), mode=word("Mode", 6))
    assert {(one.kind, one.variable) for one in refusals(new)} == {("retyped", "lockTime"), ("moved", "mode")}


def test_a_renamed_variable_needs_the_operators_word() -> None:
    new = changed("storage_layout", lockTime=None, waitingTime=word("uint256", 4))
    (found,) = refusals(new)
    assert (found.kind, found.variable) == ("renamed", "lockTime")
    assert refusals(new, lockTime="waitingTime") == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ([["pendingRefund", 93], ["balance", 93], ["nonce", 64]], "accounts.words.balance"),
        ([["balance", 94], ["pendingRefund", 93], ["nonce", 64]], "accounts.words.balance"),
        ([["balance", 93], ["pendingRefund", 93]], "accounts.words.nonce"),
        ([["balance", 93], ["flag", 1], ["pendingRefund", 93], ["nonce", 64]], "accounts.words.pendingRefund"),
        ([["balance", 93], ["waiting", 93], ["nonce", 64]], "accounts.words.pendingRefund"),
    ],
    ids=["reordered", "widened", "removed", "inserted", "renamed"],
)
def test_a_repacked_word_is_refused_and_the_first_wrong_field_is_named(fields: list[Any], named: str) -> None:
    (found,) = refusals(changed("packed", **{"accounts.words": fields}))
    assert (found.kind, found.variable) == ("repacked", named)


def test_a_field_of_a_packed_word_may_be_renamed_with_the_operators_word() -> None:
    new = changed("packed", **{"accounts.words": [["balance", 93], ["waiting", 93], ["nonce", 64]]})
    renamed = {"accounts__words__pendingRefund": "accounts.words.waiting"}
    assert refusals(new, **renamed) == []


def test_a_packed_word_that_loses_its_declaration_is_refused() -> None:
    (found,) = refusals(changed("packed", **{"accounts.words": None}))
    assert (found.kind, found.variable) == ("repacked", "accounts.words")


@pytest.mark.parametrize(
    "fields",
    [
        {"createdAt": "uint256", "amount": "uint256"},
        {"amount": "uint128", "createdAt": "uint256"},
        {"amount": "uint256"},
        {"amount": "uint256", "createdAt": "uint256", "paid": "bool"},
    ],
    ids=["reordered", "retyped", "removed", "grown inside a list"],
)
def test_a_struct_in_a_list_keeps_its_fields(fields: dict[str, str]) -> None:
    (found,) = refusals(changed("structs", Refund=fields))
    assert found.kind == "retyped"
    assert found.variable.startswith("Refund")
    assert "accounts.refunds" in found.reason


def test_reordered_flags_are_refused() -> None:
    (found,) = refusals(changed("flags", Mode=["CLOSED", "OPEN"]))
    assert found.variable == "Mode"


def test_a_layout_in_which_two_variables_overlap_is_no_layout() -> None:
    with pytest.raises(ValueError, match="share slot 4"):
        Layout.from_artifact(changed("storage_layout", extra=word("uint256", 4)))


def test_a_packed_word_has_at_most_256_bits() -> None:
    with pytest.raises(ValueError, match="more than 256 bits"):
        Layout.from_artifact(changed("packed", **{"accounts.words": [["balance", 200], ["nonce", 57]]}))
