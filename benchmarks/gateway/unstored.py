# SPDX-License-Identifier: Apache-2.0
"""The gateway without its store: receipts are signed, but rows are neither written nor read.

    python -m benchmarks.gateway.unstored gateway run ...

It takes the options of `serving gateway run`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from unittest.mock import patch

from serving_network.cli.main import app
from serving_network.store import billing
from serving_network.store.billing import Biller, ServedRow
from serving_network.store.database import Database
from serving_network.store.writing import nothing


def main() -> None:
    billed: dict[str, tuple[int, int]] = {}

    def billed_so_far(_: Database, users: Iterable[str]) -> dict[str, tuple[int, int]]:
        return {user: billed[user] for user in users if user in billed}

    def insert_served(_: Database, rows: Sequence[ServedRow]) -> None:
        for row in rows:
            receipt = row.signed.receipt
            billed[receipt.user] = (receipt.sequence, receipt.billed_before + receipt.fee)

    def ignore(_: Database, jobs: Sequence[object]) -> list[None]:
        return nothing(jobs)

    with (
        patch.multiple(
            billing,
            billed_so_far=billed_so_far,
            insert_served=insert_served,
            begin=ignore,
            checkpoint=ignore,
            abandon=ignore,
        ),
        patch.object(Biller, "_keep", lambda *_: None),
    ):
        app()


if __name__ == "__main__":
    main()
