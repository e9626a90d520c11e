# SPDX-License-Identifier: Apache-2.0
"""The files of a network: NAME.toml, which an operator writes, NAME.json, its record, and NAME.instructions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.cli.console.session import Session
    from serving_network.deployment.record import Instruction, Record
    from serving_network.deployment.record_file import RecordFile
    from serving_network.deployment.spec import NetworkSpec

FILES = Annotated[Path, typer.Option(help="The directory of the networks' files.", envvar="SERVING_NETWORK_FILES")]
DEFAULT_FILES = Path("networks")

CONTRACT = Annotated[str, typer.Argument(help='"ledger", or the full name of a service, like inference-v1.0.')]


def spec_of(session: Session, files: Path) -> NetworkSpec:
    """What the session's network should be. Raises RecordProblem."""
    from serving_network.deployment.spec import load_spec

    return load_spec(files / f"{session.network.name}.toml")


def record_path(session: Session, files: Path) -> Path:
    return files / f"{session.network.name}.json"


def record_of(session: Session, files: Path) -> RecordFile:
    """The record of the session's network. Raises RecordProblem."""
    from serving_network.deployment.record_file import RecordFile

    return RecordFile.open(record_path(session, files))


def record_if_any(session: Session, files: Path) -> RecordFile | None:
    """The record of the session's network, None if it has no record.

    Raises RecordProblem for a damaged record, and for one of another ledger than the configured one.
    """
    from serving_network.deployment.errors import RecordProblem
    from serving_network.deployment.record_file import RecordFile

    path, configured = record_path(session, files), session.network.ledger
    if not path.exists():
        return None
    file = RecordFile.open(path)
    recorded = file.record.contracts.get("ledger")
    if configured is not None and recorded is not None and recorded.front.address != configured:
        raise RecordProblem(
            f"{path} is the record of another ledger than the one configured for {session.network.name}.",
            cause=f"The record has {recorded.front.address}, the configuration {configured}.",
            next_step="Choose the network with --network or the directory of its files with --files.",
        )
    return file


def hand_out(session: Session, instructions: Sequence[Instruction], record: Record, files: Path) -> list[str]:
    """Write the instructions for other owners beside the record, and report where. Returns the paths."""
    from serving_network.deployment.instructions import write_files

    if not instructions:
        return []
    folder = files / f"{record.network}.instructions"
    written = write_files(instructions, record, folder, created_at_ms=int(time.time() * 1000))
    session.out.line()
    for one in instructions:
        session.out.line(f"Left for {one.sender}: {one.says}.")
    session.out.line(f"Wrote instructions to {folder}:")
    for path in written:
        session.out.line(f"  {path.name}")
    return [str(path) for path in written]
