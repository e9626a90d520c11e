# SPDX-License-Identifier: Apache-2.0
"""Files that several processes change: no change is lost, and a crash leaves no partial file."""

from __future__ import annotations

import os
import stat
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from serving_network.files import RunInProgress, lock, private_file, write_whole
from serving_network.messages.session_tokens import IssuedToken, TokenBook
from serving_network.networks import Configuration

ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WRITERS, ENTRIES = 4, 12


def write_tokens(path: Path, writer: int) -> None:
    book = TokenBook(path)
    for number in range(ENTRIES):
        with book.locked():
            book.remember(IssuedToken(1, "inference-v1.0", ADDRESS, ADDRESS, number, writer, 0, 0))


def write_addresses(directory: Path, writer: int) -> None:
    configuration = Configuration(directory)
    for number in range(ENTRIES):
        configuration.save_address(f"name-{writer}-{number}", ADDRESS)  # type: ignore[arg-type]


def in_processes(work: object, path: Path) -> None:
    context = get_context("fork")
    writers = [context.Process(target=work, args=(path, number)) for number in range(WRITERS)]  # type: ignore[arg-type]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
        assert one.exitcode == 0


def test_a_token_book_loses_no_entry_to_another_process(tmp_path: Path) -> None:
    in_processes(write_tokens, tmp_path / "tokens.json")
    issued = TokenBook(tmp_path / "tokens.json").issued()
    assert len({(one.generation, one.token_id) for one in issued}) == len(issued) == WRITERS * ENTRIES


def test_a_configuration_loses_no_entry_to_another_process(tmp_path: Path) -> None:
    in_processes(write_addresses, tmp_path)
    assert len(Configuration(tmp_path).addresses()) == WRITERS * ENTRIES


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    path, order = tmp_path / "a.lock", []

    def second() -> None:
        with lock(path, wait=60):
            order.append("second")

    with lock(path):
        waiting = threading.Thread(target=second)
        waiting.start()
        with pytest.raises(RunInProgress, match="busy"), lock(path, "busy", wait=0.05):
            pass
        time.sleep(0.05)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")

    def fail(_: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def test_modes_links_and_new_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    write_whole(link, "two")
    assert link.is_symlink()
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(FileExistsError):
        write_whole(path, "three", new=True)
    assert path.read_text() == "two"
    write_whole(tmp_path / "fresh", "four", mode=0o644, new=True)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o644


def test_every_directory_that_is_made_is_private(tmp_path: Path) -> None:
    allowing = os.umask(0)
    try:
        write_whole(tmp_path / "a" / "b" / "file", "one")
        private_file(tmp_path / "a" / "c" / "file")
    finally:
        os.umask(allowing)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").rglob("*")}
    assert modes == {"b": 0o700, "c": 0o700, "file": 0o600}
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_what_is_no_file_keeps_its_mode() -> None:
    before = Path(os.devnull).stat().st_mode
    private_file(Path(os.devnull))
    assert Path(os.devnull).stat().st_mode == before
