# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server for tests: this system's own programs, on a unix socket in a temporary directory.

PostgreSQL does not run as root, so root starts it as another user. Where there is no server, tests that need it are
skipped with the reason.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path

from serving_network.store.location import PostgresStore
from serving_network.store.postgres import Postgres
from tests import shared

USERS = ("postgres", "nobody")


def missing() -> str | None:
    """Why there is no server for tests; None if there is one."""
    if importlib.util.find_spec("asyncpg") is None:
        return "asyncpg is not installed"
    if _programs() is None:
        return "initdb and pg_ctl are not installed"
    if os.geteuid() == 0 and (shutil.which("setpriv") is None or _other_user() is None):
        return "PostgreSQL does not run as root, and there is no other user to run it as"
    return None


@dataclass
class PostgresServer:
    """A server that runs. It can be killed and started again."""

    directory: Path
    durable: bool
    numbers: Iterator[int] = field(default_factory=count)

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        fast = "" if self.durable else "-c fsync=off -c full_page_writes=off"
        options = f"-k {self.directory} -c listen_addresses='' -c shared_buffers=16MB -c max_connections=40 {fast}"
        options += " -c dynamic_shared_memory_type=mmap"  # in its directory: others stay in /dev/shm after a kill
        self._run("pg_ctl", "start", "-w", "-l", str(self.directory / "log"), "-o", options)

    def crash(self) -> None:
        """Kill it while it works, and start it again, which recovers what was committed."""
        self.stop("immediate")
        self.start()

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `immediate` does so without a checkpoint, as a crash does."""
        self._run("pg_ctl", "stop", "-w", "-m", mode)

    def store(self, files: Path) -> PostgresStore:
        """An empty store, in a schema of its own. This machine's files for it are at `files`."""
        name = f"store_{next(self.numbers)}"
        with closing(Postgres(self.url)) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return PostgresStore(f"{self.url}&search_path={name}", files)

    @property
    def pid(self) -> int:
        """The process that started all others of the server."""
        return int((self._files / "postmaster.pid").read_text().split("\n", 1)[0])

    @property
    def url(self) -> str:
        return f"postgresql:///postgres?host={self.directory}&user=serving"

    def sql(self, statement: str) -> str:
        """Run a statement with psql: the server's own, since Debian's in PATH is a script that looks for it."""
        programs = _programs()
        assert programs is not None
        psql = shutil.which("psql", path=f"{programs}{os.pathsep}{os.environ['PATH']}")
        assert psql is not None
        done = subprocess.run(
            [psql, "-X", "-A", "-t", "-q", "-h", str(self.directory), "-U", "serving", "-c", statement, "postgres"],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def make(self) -> None:
        """Create its files. A test run creates them once: every server of it starts with a copy."""
        run = os.environ.get(shared.VARIABLE)
        if run is None:
            self._create()
            return
        made = Path(run) / "postgres"
        shared.shared("postgres", lambda: self._create(moved_to=made))
        # With their owner, who is not root.
        subprocess.run(["cp", "-a", str(made), str(self._files)], check=True)

    def _create(self, *, moved_to: Path | None = None) -> None:
        self._run("initdb", "-A", "trust", "-U", "serving", "-E", "UTF8", "--locale=C", "--no-sync")
        if moved_to is not None:
            shutil.move(self._files, moved_to)

    @property
    def _files(self) -> Path:
        return self.directory / "data"

    def _run(self, program: str, *arguments: str) -> None:
        programs = _programs()
        assert programs is not None
        command = [str(programs / program), "-D", str(self._files), *arguments]
        if os.geteuid() == 0:
            user = _other_user()
            assert user is not None
            command = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *command]
        with (self.directory / "output").open("w+", encoding="utf-8") as output:
            done = subprocess.run(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, check=False)
            output.seek(0)
            assert done.returncode == 0, output.read()


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A new server, which is removed at the end. Without `durable`, it does not wait for the disk."""
    directory = Path(tempfile.mkdtemp(prefix="serving-pg-"))
    try:
        if os.geteuid() == 0 and (user := _other_user()) is not None:
            os.chown(directory, user.pw_uid, user.pw_gid)
        server = PostgresServer(directory, durable)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


@cache
def _programs() -> Path | None:
    """The directory of the server's programs."""
    for program in ("pg_ctl", "initdb"):
        if (found := shutil.which(program)) is not None and shutil.which("psql") is not None:
            return Path(found).resolve().parent
    found = shutil.which("pg_config")
    if found is None or shutil.which("psql") is None:
        return None
    directory = Path(subprocess.run([found, "--bindir"], check=True, capture_output=True, text=True).stdout.strip())
    return directory if (directory / "initdb").exists() else None


def _other_user() -> pwd.struct_passwd | None:
    for name in USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None
