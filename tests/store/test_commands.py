# SPDX-License-Identifier: Apache-2.0
"""Commands with a journal in PostgreSQL."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from serving_network.settlement.journal import open_journal
from tests import zygote
from tests.postgres import PostgresServer
from tests.settlement.test_journal_rules import IDENTITY, USERS, read, row, send


def serving(*words: str) -> tuple[int, str, str]:
    with closing(zygote.Piped(words)) as process:
        out, err = process.communicate(120)
        return process.returncode or 0, out, err


def test_a_journal_is_listed_and_its_backup_is_pg_dumps(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVING_HOME", str(tmp_path))
    store = postgres.store(tmp_path / "store")
    with open_journal(store, IDENTITY) as journal:
        read(journal, row(1))
        send(journal, 1, USERS[0])
    code, out, _ = serving("settlement", "list", "--journal", store.url, "--json")
    assert code == 0
    assert json.loads(out)["journal"] == store.url
    code, _, err = serving("settlement", "backup", str(tmp_path / "file"), "--journal", store.url)
    assert code == 2
    assert f"pg_dump --format=custom --file={tmp_path / 'file'}" in "".join(err.split("\n"))
    code, _, err = serving("settlement", "list", "--journal", "postgresql://me:secret@host/db")
    assert code == 3
    assert "~/.pgpass" in err
    assert "secret" not in err
