# SPDX-License-Identifier: Apache-2.0
"""Which settled rows of a transaction belong together, and to which of them its calldata belongs."""

from __future__ import annotations

from typing import Any

from eth_utils import to_checksum_address

from serving_network.clients.read.settlement_calls import rows_in, settlements_in
from serving_network.contracts import load
from serving_network.explorer.index.events import Event, Followed
from serving_network.explorer.index.settled import MISMATCH, Sent, Signed, groups_of
from serving_network.messages.typed_data import UserSettlement

SERVICE = Followed(to_checksum_address("0x" + "5e" * 20), "service", "inference")
PROVIDER, OTHER, USER, SECOND = (to_checksum_address(bytes([number]) * 20) for number in (1, 2, 3, 4))


def event(position: int, name: str, **args: Any) -> Event:
    return Event(position, 1, "0x", "0x", SERVICE, name, args, args.get("user"), args.get("provider"))


def row(position: int, user: str) -> Event:
    return event(position, "BatchRowSettled", user=user, status=0, paid=1, balance=1)


def batch(position: int, provider: str, rows: int) -> Event:
    return event(position, "BatchSettled", provider=provider, rows=rows, paid=rows)


def entry(position: int, user: str) -> Event:
    return event(position, "TEESettlementResult", user=user, status=0, unsettledAmount=0)


def charged(position: int, user: str, provider: str) -> Event:
    return event(position, "BalanceUpdated", user=user, provider=provider, amount=1, pendingRefund=0)


def signed(*users: str) -> list[UserSettlement]:
    return [UserSettlement(user, 1, number, bytes(32)) for number, user in enumerate(users)]


def test_the_calldata_belongs_to_the_first_batch_of_the_sender_with_its_users() -> None:
    """A wallet with code can settle again when it is paid: those rows came through a contract."""
    events = [row(1, USER), row(2, SECOND), batch(3, PROVIDER, 2), row(4, USER), row(5, SECOND), batch(6, PROVIDER, 2)]
    first, second = groups_of(events, Sent(PROVIDER, Signed("batch", signed(USER, SECOND))))
    assert (first.ends, first.signed, first.complaint) == (3, signed(USER, SECOND), None)
    assert (second.ends, second.signed, second.provider) == (6, None, PROVIDER)


def test_calldata_of_others_or_with_other_users_is_not_attached() -> None:
    events = [row(1, USER), batch(2, PROVIDER, 1)]
    for sent in (Sent(OTHER, Signed("batch", signed(USER))), Sent(PROVIDER, Signed("batch", signed(SECOND)))):
        (group,) = groups_of(events, sent)
        assert (group.signed, group.complaint) == (None, MISMATCH)
    (group,) = groups_of(events, Sent(OTHER))
    assert (group.signed, group.complaint) == (None, None)


def test_rows_without_their_batch_are_kept_without_a_provider() -> None:
    lost, short = groups_of([batch(1, PROVIDER, 3), row(2, USER)], Sent(OTHER))
    assert (lost.rows, lost.complaint) == ([], "0 rows precede a BatchSettled of 3")
    assert (short.provider, short.complaint) == (None, "no BatchSettled follows these rows")


def test_entries_through_a_contract_get_the_provider_that_a_charge_names() -> None:
    events = [
        charged(1, USER, PROVIDER), entry(2, USER), entry(3, SECOND), charged(4, SECOND, OTHER), entry(5, SECOND),
        charged(7, USER, PROVIDER), entry(9, USER),
    ]  # fmt: skip
    first, second = groups_of(events, Sent(USER))
    assert [provider for _, provider in first.rows] == [PROVIDER, None]
    assert [provider for _, provider in second.rows] == [OTHER, None]  # the last charge is not right before its result
    assert (first.provider, second.provider, second.ends) == (PROVIDER, OTHER, 9)


def test_entries_of_the_senders_calldata_are_its_own_and_further_ones_are_not() -> None:
    events = [entry(1, USER), entry(2, SECOND), entry(3, USER)]
    own, further = groups_of(events, Sent(PROVIDER, Signed("entries", signed(USER, SECOND))))
    assert (own.signed, own.provider, own.users) == (signed(USER, SECOND), PROVIDER, [USER, SECOND])
    assert (further.signed, further.users) == (None, [USER])


def test_rows_are_read_from_calldata_as_the_codec_reads_them() -> None:
    interface = load("InferenceServing").interface
    rows = [(int(user, 16) << 96 | fee, fee, bytes([fee]) * 32) for user, fee in ((USER, 1), (SECOND, 2), (USER, 3))]
    data = interface.encode("settleBatchWithTEE", rows, bytes(65))
    assert rows_in(data) == settlements_in(interface.decode_call(data))
    assert rows_in(data[:-96]) == rows_in(data)  # the signature is not read
    for other in (data[:100], data[:99] + b"\xff" + data[100:], b"\0" + data[1:], data[:35] + b"\x60" + data[36:]):
        assert rows_in(other) in (None, [])
