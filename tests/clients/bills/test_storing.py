# SPDX-License-Identifier: Apache-2.0
"""A bill on disk: receipts are kept once, and conflicting ones both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from serving_network.store.bills import BillUnusable, open_bill
from tests.clients.bills.making import IDENTITY, TEE, changed, receipts, sign


def test_receipts_are_kept_once(tmp_path: Path) -> None:
    made = receipts((1, 1), (2, 2), (3, 3))
    path = tmp_path / "bills" / IDENTITY.file_name
    with open_bill(path, IDENTITY) as bill:
        assert (bill.complete_to(), bill.receipts()) == (0, [])
        assert bill.add([made[2], made[0]]) == 2
        assert bill.complete_to() == 1
        assert bill.add(made) == 1
        assert bill.add([sign(made[0].receipt, made[0].disclosure)]) == 0
    with open_bill(path, IDENTITY) as bill:
        assert bill.receipts() == made
        assert bill.complete_to() == 3
        other = changed(made[1], output_tokens=3, output_fee=600)
        assert bill.add([other]) == 1
        assert sorted(one.receipt.output_tokens for one in bill.receipts()) == [1, 2, 3, 3]
        assert bill.complete_to() == 3
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_trusted_signer(tmp_path: Path) -> None:
    with open_bill(tmp_path / "bill", IDENTITY) as bill:
        assert bill.signer() is None
        bill.trust(TEE.address)
    with open_bill(tmp_path / "bill", IDENTITY) as bill:
        assert bill.signer() == TEE.address


def test_another_bill_and_a_damaged_file(tmp_path: Path) -> None:
    with open_bill(tmp_path / "bill", IDENTITY):
        pass
    with pytest.raises(BillUnusable), open_bill(tmp_path / "bill", replace(IDENTITY, chain_id=1)):
        pass
    (tmp_path / "damaged").write_bytes(b"this is no database" * 100)
    with pytest.raises(BillUnusable), open_bill(tmp_path / "damaged", IDENTITY):
        pass
