"""Where a network's files lie: what it should be (NAME.toml), what it is (NAME.json), what others have to do."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.session import Session
from serving_network.deployment.instructions import write_files
from serving_network.deployment.record import Instruction, Record, RecordFile
from serving_network.deployment.spec import NetworkSpec, load_spec

FILES = Annotated[Path, typer.Option(help="The directory of the networks' files.", envvar="SERVING_NETWORK_FILES")]
DEFAULT_FILES = Path("networks")

CONTRACT = Annotated[str, typer.Argument(help='"ledger", or the full name of a service, like inference-v1.0.')]


def spec_of(session: Session, files: Path) -> NetworkSpec:
    """What the session's network should be. Raises RecordProblem."""
    return load_spec(files / f"{session.network.name}.toml")


def record_path(session: Session, files: Path) -> Path:
    return files / f"{session.network.name}.json"


def record_of(session: Session, files: Path) -> RecordFile:
    """The record of the session's network. Raises RecordProblem."""
    return RecordFile.open(record_path(session, files))


def hand_out(session: Session, instructions: Sequence[Instruction], record: Record, files: Path) -> list[str]:
    """Write what others have to do beside the record, and say where. Returns the paths."""
    if not instructions:
        return []
    folder = files / f"{record.network}.instructions"
    written = write_files(instructions, record, folder, created_at_ms=int(time.time() * 1000))
    session.out.line()
    for one in instructions:
        session.out.line(f"Left for {one.sender}: {one.says}.")
    session.out.line(f"Their instructions are in {folder}:")
    for path in written:
        session.out.line(f"  {path.name}")
    return [str(path) for path in written]
