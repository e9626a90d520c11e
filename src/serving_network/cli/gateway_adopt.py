# SPDX-License-Identifier: Apache-2.0
"""`serving gateway adopt`: take in receipts that a restored store lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.bill import read_bill
from serving_network.cli.command import reads
from serving_network.cli.journal_file import JOURNAL, existing_journal
from serving_network.cli.output import money
from serving_network.cli.session import Session
from serving_network.cli.tee_key import TEE_KEY, tee_signer
from serving_network.counting import count
from serving_network.money import rounded
from serving_network.store.taking_in import take_in


@reads
async def adopt(
    session: Session,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Bills that users exported.")],
    tee_key: TEE_KEY = None,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Take in receipts that users have and the store lacks, after it was restored from a copy.

    Stop the gateway first. All receipts are taken in, or none.

    Example: serving gateway adopt bill.json --key provider
    """
    receipts = [one for path in files for one in read_bill(path)[1]]
    file = await existing_journal(session, service, journal, "serving gateway run")
    taken = take_in(file.path, file.identity, await tee_signer(session, tee_key), receipts)
    session.out.result({"receipts": taken.receipts, "users": taken.users, "billed": money(taken.wei)})
    session.out.line(
        f"Took in {count(taken.receipts, 'receipt')} of {count(taken.users, 'user')} over {rounded(taken.wei)}; "
        f"the store had {len(receipts) - taken.receipts} already."
    )
