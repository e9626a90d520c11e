# SPDX-License-Identifier: Apache-2.0
"""A store that is restored from a copy: the gateway refuses it, and the documented steps lead out.

tests/store/test_taking_in.py tests which receipts are taken in.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving_network.clients.bills.exported import export_bill
from serving_network.gateway.readiness import GatewayNotReady
from serving_network.messages.receipts import parse_receipt
from serving_network.store.bills import BillIdentity
from serving_network.store.opening import identity_of
from serving_network.store.served import summarise
from serving_network.store.taking_in import take_in
from serving_network.testing import LocalNetwork
from serving_network.wallet.keys import KeyStore
from tests.gateway.programs import PASSWORD, printed_by, serving, write_home
from tests.gateway.stage import PROVIDER, Stage


def copied(source: Path, target: Path) -> None:
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)


async def serve(stage: Stage, backup: Path) -> list[dict[str, Any]]:
    """Serve a request, copy the store, serve two more, settle one of them, and restore the copy. Returns the bill."""
    token = stage.token()
    async with stage.gate() as gate:
        await gate.chat(token)
        copied(stage.file, backup)
        await gate.chat(token)
        await stage.settle()
        await gate.chat(token)
        bill = await gate.get("/v1/receipts", token)
    copied(backup, stage.file)
    receipts: list[dict[str, Any]] = bill[1]["receipts"]
    return receipts


def test_the_documented_steps(stage: Stage, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    KeyStore(home / "keys", scrypt_work=2).add("provider", LocalNetwork.signer(PROVIDER), PASSWORD)
    write_home(stage, home, "http://127.0.0.1:1/v1")

    async def scenario() -> None:
        bill = await serve(stage, tmp_path / "backup")
        with pytest.raises(GatewayNotReady, match="lacks settlements"):
            async with stage.gate():
                pass
        receipts = [parse_receipt(one) for one in bill]
        identity = identity_of(stage.store)
        about = BillIdentity(identity.chain_id, identity.contract, identity.provider, receipts[0].receipt.user)
        (home / "bill.json").write_text(export_bill(about, receipts, redact=False))
        words = ["--key", "provider", "--journal", str(stage.store)]
        code, backed_up = await printed_by(home, "settlement", "backup", str(home / "copy"), *words)
        assert (code, "run serving gateway adopt" in backed_up) == (0, True)
        code, taken = await serving(home, "gateway", "adopt", str(home / "bill.json"), *words)
        assert (code, taken["receipts"], taken["users"]) == (0, 2, 1)
        assert (await serving(home, "settle", *words))[0] == 11
        code, adopted = await serving(home, "settlement", "adopt", *words, "--yes")
        assert code == 0, adopted
        fee = summarise(stage.store).billed // 3
        assert summarise(stage.store).unsettled == fee
        async with stage.gate() as gate:
            assert (await gate.chat(stage.token()))[0] == 200
            assert len(await gate.receipts(stage.token())) == 4
            report = await stage.settle()
            assert (report.paid, report.unsettled) == (2 * fee, 0)

    asyncio.run(scenario())


def test_a_user_who_has_receipts_that_the_store_lacks_is_not_served(stage: Stage, tmp_path: Path) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate() as gate:
            await gate.chat(token)
            copied(stage.file, tmp_path / "backup")
            await gate.chat(token)
            bill = (await gate.get("/v1/receipts", token))[1]["receipts"]
            assert await gate.get("/v1/receipts?after=2", token) == (200, {"receipts": []})
        copied(tmp_path / "backup", stage.file)
        async with stage.gate() as gate:
            for path in ("/v1/receipts?after=2", "/v1/receipts?after=3"):
                status, refused = await gate.get(path, token)
                assert (status, refused["error"]["code"]) == (503, "receipts_missing")
            status, refused, _ = await gate.chat(token)
            assert (status, refused["error"]["code"]) == (503, "receipts_missing")
            assert len((await gate.get("/v1/receipts", token))[1]["receipts"]) == 1
        take_in(stage.store, identity_of(stage.store), stage.world.tee_signer, map(parse_receipt, bill))
        async with stage.gate() as gate:
            assert (await gate.chat(token))[0] == 200
            assert len(await gate.receipts(token)) == 3

    asyncio.run(scenario())
