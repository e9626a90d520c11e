# SPDX-License-Identifier: Apache-2.0
"""A provider that attacks its users: with its URL, its receipts, and requests for more funds."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, patch

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from serving_network.clients.bills.checking import Fault
from serving_network.clients.bills.spending import spending
from serving_network.clients.bills.verdict import verify_bill
from serving_network.clients.buying.answers import Delivered, check_delivered, most_output
from serving_network.clients.buying.funding import Funding, LimitReached
from serving_network.clients.read.inference import inference_service
from serving_network.clients.servers import provider_session
from serving_network.contracts.models import Offer
from serving_network.errors import InvalidInput, NodeUnreachable, TransactionPending
from serving_network.messages.receipts import InvalidReceipt, receipt_id
from serving_network.store.bills import open_bill
from serving_network.wallet.local import LocalTeeSigner
from tests.clients.bills.making import IDENTITY, PROVIDER, changed, evidence, receipts, settled, sign

MAINNET = 16_661


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc/passwd",
        "ftp://host",
        "javascript:alert(1)",
        "//host",
        "http://",
        "http://[",
        "http://host:99999",
        "http://host:x",
        "http://host:0",
        "http://user:password@host",
        "http://good.example\\@127.0.0.1",
        "http://127.0.0.1:8545/?",
        "http://host/#",
        "http://host/\x1b[2J",
        "http://host/\r\nX: y",
        "http://ho st",
    ],
)
def test_a_url_that_is_not_that_of_a_server(url: str) -> None:
    offer = Offer("chatbot", url, "m", "TeeML", 1, 1, "{}", PROVIDER)
    network: Any = SimpleNamespace(offer=AsyncMock(return_value=SimpleNamespace(offer=offer, confirmed=True)))
    with pytest.raises(InvalidInput, match="no inference server"):
        asyncio.run(inference_service(network, PROVIDER))


class Resolver(AbstractResolver):
    """Resolves every name to one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        return [ResolveResult(hostname=host, host=self._address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "fd00::1",
        "fe80::1",
        "::ffff:127.0.0.1",
    ],
)
@pytest.mark.parametrize("named", [False, True], ids=["address", "name"])
def test_no_request_reaches_the_users_own_network(address: str, named: bool) -> None:
    host = "provider.example" if named else f"[{address}]" if ":" in address else address

    async def scenario() -> None:
        async with provider_session(MAINNET) as http:
            assert http.connector is not None
            http.connector._resolver = Resolver(address)  # type: ignore[attr-defined]
            with pytest.raises(aiohttp.ClientConnectorError, match="private network"):
                await http.get(f"http://{host}:8545/v1/models")

    asyncio.run(scenario())


def test_a_local_chain_has_local_providers() -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server, provider_session(31337) as http:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await http.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "changes", [{"sequence": 2**64 - 1}, {"sequence": 2**63}, {"time": 2**64 - 1}, {"time": 2**38}]
)
def test_a_receipt_that_would_break_the_bill_is_not_kept(tmp_path: Path, changes: dict[str, int]) -> None:
    one, two = receipts((1, 1), (2, 2))
    with open_bill(tmp_path / IDENTITY.file_name, IDENTITY) as bill:
        with pytest.raises(InvalidReceipt, match="impossible"):
            bill.add([one, changed(two, **changes)])
        assert bill.receipts() == []
        bill.add([changed(one, time=253_402_128_000)])
        assert len(spending(bill.receipts(), "day")) == 1


def test_a_forged_receipt_beside_a_genuine_one_proves_nothing() -> None:
    """Anybody on the way can add one. It does not hide the genuine one, and the provider did not sign two."""
    made = receipts((1, 1), (2, 2))
    for forger in range(8, 40):  # before and after the genuine one in the order of their hashes
        forged = sign(replace(made[1].receipt, output_tokens=forger), None, LocalTeeSigner(bytes(31) + bytes([forger])))
        for listed in ([*made, forged], [made[0], forged, made[1]]):
            verdict = verify_bill(listed, evidence(settled(made)))
            assert (2, Fault.SIGNATURE) in [one[:2] for one in verdict.problems]
            assert not any(one.fault is Fault.CONFLICT for one in verdict.problems)
            assert verdict.billed == sum(one.receipt.fee for one in made)
            assert verdict.unsettled == ()


def funding(fund: AsyncMock, limit: int = 100) -> Funding:
    account = SimpleNamespace(acknowledged=True, spendable=0)
    user = SimpleNamespace(
        address=IDENTITY.user,
        account=AsyncMock(return_value=account),
        minimums=AsyncMock(return_value=(1, 1)),
        fund=fund,
    )
    buyer: Any = SimpleNamespace(user=user, identity=IDENTITY, service="inference")
    return Funding(buyer, limit)


def test_the_limit_counts_transactions_that_can_still_take_effect() -> None:
    async def scenario() -> None:
        fund = AsyncMock(side_effect=TransactionPending("The node failed."))
        funds = funding(fund)
        for _ in range(10):
            with pytest.raises(TransactionPending):
                await funds.add()
        with pytest.raises(LimitReached):
            await funds.add()
        assert sum(call.args[1] for call in fund.call_args_list) == 100
        fund = AsyncMock(side_effect=NodeUnreachable("No answer."))
        funds = funding(fund)
        for _ in range(30):
            with pytest.raises(NodeUnreachable):
                await funds.add()
        assert funds.moved == 0

    asyncio.run(scenario())


def test_a_provider_that_always_asks_for_more_gets_no_more_than_the_limit() -> None:
    async def scenario() -> None:
        fund = AsyncMock()
        funds = funding(fund)
        with patch.object(Funding, "_unsettled", AsyncMock(return_value=2**300)):
            for _ in range(10):
                await funds.keep()
                with suppress(LimitReached):
                    await funds.add()
        assert sum(call.args[1] for call in fund.call_args_list) == 100

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_body", "most"),
    [
        (b'{"max_tokens": 5}', 5),
        (b'{"max_tokens": 5, "max_completion_tokens": 4, "n": 3}', 12),
        (b'{"max_tokens": 5, "prompt": ["a", "b"], "best_of": 2}', 20),
        (b'{"max_output_tokens": 7}', 7),
        (b'{"messages": []}', None),
        (b'{"max_tokens": 1.5}', None),
        (b"[]", None),
        (b"form", None),
    ],
)
def test_the_most_output_of_a_request(request_body: bytes, most: int | None) -> None:
    assert most_output(request_body) == most


def test_a_receipt_for_more_output_than_was_asked_proves_nothing() -> None:
    key = "0f8fad5b-d9cb-469f-a165-70867728950e"
    one = changed(receipts((1, 9))[0], id=receipt_id(key))
    disclosure = one.disclosure
    assert disclosure is not None
    for most in (None, 9, 8):
        what = Delivered(disclosure.request_hash, disclosure.answer_hash, disclosure.length, b"", True, most)
        if most == 8:
            with pytest.raises(InvalidReceipt, match="bills 9 tokens of output, and the request allowed 8"):
                check_delivered(one, IDENTITY, key, what)
        else:
            check_delivered(one, IDENTITY, key, what)
