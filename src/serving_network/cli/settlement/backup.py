"""`serving settlement backup`"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.command import reads
from serving_network.cli.journal_file import JOURNAL, existing_journal
from serving_network.cli.session import Session
from serving_network.errors import InvalidInput
from serving_network.settlement.journal import read_journal
from serving_network.store.sqlite import copy_journal


@reads
async def backup(
    session: Session,
    file: Annotated[Path, typer.Argument(help="The file to write the copy to. It must not exist.")],
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Back up the journal, even while a run writes it.

    A restored backup lacks what was settled since: after restoring it, run serving settle, then serving settlement
    adopt.

    Example: serving settlement backup journal-2026-11-29 --key provider
    """
    source = await existing_journal(session, service, journal)
    if file.exists():
        raise _exists(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as directory:
        copy = Path(directory) / "journal"
        copy_journal(source.path, copy)
        with read_journal(copy) as copied:
            users, requests = copied.users(), sum(user.requests for user in copied.users())
            batches, block = len(copied.open_batches()), copied.last_booked_block()
        with copy.open("rb") as content:
            os.fsync(content.fileno())
        copy.chmod(0o600)
        try:
            os.link(copy, file)
        except FileExistsError:
            raise _exists(file) from None
        except OSError:  # a file system without links
            copy.rename(file)
    size = file.stat().st_size
    session.out.result(
        {
            "journal": str(source.path),
            "copy": str(file),
            "bytes": size,
            "users": len(users),
            "requests": requests,
            "open_batches": batches,
            "last_booked_block": block,
        }
    )
    session.out.line(f"Copied {source.path} to {file}: {size} bytes.")
    session.out.facts(
        {
            "users": str(len(users)),
            "requests": str(requests),
            "open batches": str(batches),
            "booked up to": f"block {block}" if block else "no bookings yet",
        }
    )
    session.out.line("After restoring it, run serving settle, then serving settlement adopt.")


def _exists(file: Path) -> InvalidInput:
    return InvalidInput(f"{file} already exists.", next_step="Name a file that does not exist yet.")
