# SPDX-License-Identifier: Apache-2.0
"""Which service contract a name stands for, and what the ledger is asked for it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from serving_network.clients.read.network import AsyncNetwork
from serving_network.contracts.models import ZERO_ADDRESS

FIRST, SECOND = "0x" + "11" * 20, "0x" + "22" * 20


class LedgerOfOneService:
    """A ledger contract that recommends one version of inference, and keeps what it was asked."""

    def __init__(self) -> None:
        self.recommended = "v1.0", FIRST
        self.asked: list[str] = []

    async def read(self, function: str, *_: str) -> Any:
        self.asked.append(function)
        version, address = self.recommended
        info = {
            "serviceAddress": address, "serviceType": "inference", "version": version,
            "fullName": f"inference-{version}", "description": "", "isRecommended": True, "registeredAt": 1,
        }  # fmt: skip
        answers = {
            "getServiceAddressByName": ZERO_ADDRESS,
            "getRecommendedService": self.recommended,
            "getServiceInfo": info,
        }
        return answers[function]


def test_a_type_is_resolved_each_time_and_its_version_is_read_once() -> None:
    network = AsyncNetwork(cast("Any", object()))
    ledger = LedgerOfOneService()
    network.ledger_contract = cast("Any", ledger)

    def found() -> tuple[str, str]:
        service = asyncio.run(network.service("inference"))
        return service.name, service.address

    assert [found(), found()] == [("inference-v1.0", FIRST)] * 2
    assert ledger.asked.count("getRecommendedService") == 2
    assert ledger.asked.count("getServiceInfo") == 1
    for ledger.recommended in ("v1.0", SECOND), ("v2.0", FIRST):
        assert found() == (f"inference-{ledger.recommended[0]}", ledger.recommended[1])
    assert ledger.asked.count("getServiceInfo") == 3
