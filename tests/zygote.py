# SPDX-License-Identifier: Apache-2.0
"""Processes that run `serving`, or a function of the tests, without the second that Python needs to import them.

One process imports the program and waits; each run is a fork of it: a process of its own, with its own terminal or
pipes, environment and directory, which dies by signals like any other. A run is the child of the process that
asked for it, because the process between them ends at once and the asking one adopts what it leaves (Linux).
"""

from __future__ import annotations

import array
import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pexpect
from ptyprocess import PtyProcess

import serving_network

SERVING = "serving_network.cli.main:app"
"""What a process runs unless its test names another function, as MODULE:FUNCTION."""

ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER in linux/prctl.h
_LENGTH = struct.Struct(">I")


def start(
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    streams: tuple[int, int, int],
    terminal: bool = False,
    function: str = SERVING,
) -> int:
    """Run `serving WORDS` and return the id of its process, which the caller waits for with `os.waitpid`.

    `streams` are the file descriptors of its input, output and errors; with `terminal` the first one is a terminal,
    which the process gets as its own. Another `function` finds the words in sys.argv.
    """
    request = {"words": list(words), "environment": dict(environment), "directory": str(directory)}
    request["function"] = function
    message = json.dumps(request | {"terminal": terminal}).encode()
    connection = _zygote()
    connection.sendmsg(
        [_LENGTH.pack(len(message)) + message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))]
    )
    (pid,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return int(pid)


class Terminal(pexpect.spawn):  # type: ignore[misc]  # which has no types
    """A terminal in which `serving WORDS` runs, as pexpect gives one."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        columns: int,
        function: str = SERVING,
    ) -> None:
        self._words = words
        self._directory = directory
        self._function = function
        super().__init__(sys.executable, encoding="utf-8", timeout=600, env=dict(environment), dimensions=(50, columns))

    def _spawnpty(self, _args: Any, *, env: dict[str, str], dimensions: tuple[int, int], **_: Any) -> PtyProcess:
        ours, theirs = pty.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *dimensions, 0, 0))
            pid = start(
                self._words,
                environment=env,
                directory=self._directory,
                streams=(theirs, theirs, theirs),
                terminal=True,
                function=self._function,
            )
        finally:
            os.close(theirs)
        return PtyProcess(pid, ours)


class Silent:
    """A process of `serving WORDS` whose output nobody reads."""

    def __init__(self, words: Sequence[str], *, environment: Mapping[str, str], directory: Path) -> None:
        self._ended = False
        with Path(os.devnull).open("r+b") as nothing:
            streams = (nothing.fileno(),) * 3
            self.pid = start(words, environment=environment, directory=directory, streams=streams)

    def runs(self) -> bool:
        if not self._ended:
            self._ended = os.waitpid(self.pid, os.WNOHANG) != (0, 0)
        return not self._ended

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        if not self._ended:
            os.waitpid(self.pid, 0)
            self._ended = True


class Piped:
    """A process of `serving WORDS` whose output is read, with as much of `subprocess.Popen` as tests use."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        function: str = SERVING,
    ) -> None:
        self.returncode: int | None = None
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        self.stdout, self.stderr = os.fdopen(out, encoding="utf-8"), os.fdopen(err, encoding="utf-8")
        try:
            with Path(os.devnull).open("rb") as nothing:
                streams = (nothing.fileno(), out_end, err_end)
                self.pid = start(
                    words,
                    environment=os.environ if environment is None else environment,
                    directory=directory or Path.cwd(),
                    streams=streams,
                    function=function,
                )
        finally:
            os.close(out_end)
            os.close(err_end)

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """The rest of its output, and its errors, when it has ended."""
        with ThreadPoolExecutor(1) as readers:
            errors = readers.submit(self.stderr.read)
            watch = threading.Timer(timeout, self.kill)
            watch.start()
            try:
                return self.stdout.read(), errors.result()
            finally:
                self._wait(0)
                watch.cancel()

    def close(self) -> None:
        self.kill()
        self._wait(0)
        self.stdout.close()
        self.stderr.close()

    def _wait(self, options: int) -> int | None:
        if self.returncode is None and (ended := os.waitpid(self.pid, options)) != (0, 0):
            self.returncode = os.waitstatus_to_exitcode(ended[1])
        return self.returncode


@cache
def _zygote() -> socket.socket:
    if ctypes.CDLL(None, use_errno=True).prctl(ADOPT_ORPHANS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from tests.zygote import serve; serve({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            cwd=Path(__file__).parents[1],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def serve(descriptor: int) -> None:
    """Fork for every request, until the other side is gone."""
    _import_everything()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=descriptor) as connection:
        while True:
            head, ancillary, *_ = connection.recvmsg(_LENGTH.size, socket.CMSG_SPACE(3 * 4))
            if not head:
                return
            request = json.loads(_exactly(connection, *_LENGTH.unpack(head)))
            streams = array.array("i")
            streams.frombytes(ancillary[0][2])
            reading, writing = os.pipe()
            between = os.fork()
            if between == 0:
                os.close(reading)
                connection.detach()
                os.close(descriptor)
                _between(request, streams.tolist(), writing)
            os.close(writing)
            for one in streams:
                os.close(one)
            os.waitpid(between, 0)
            connection.sendall(os.read(reading, _LENGTH.size))
            os.close(reading)


def _between(request: dict[str, Any], streams: list[int], writing: int) -> None:
    pid = os.fork()
    if pid != 0:
        os.write(writing, _LENGTH.pack(pid))
        os._exit(0)
    os.close(writing)
    os.setsid()
    if request["terminal"]:
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
    for target, source in enumerate(streams):
        os.dup2(source, target)
    for source in streams:
        os.close(source)
    _run(request)


def _run(request: dict[str, Any]) -> None:
    """What `python -m serving_network` does, from a fresh environment on."""
    module, _, name = request["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    code = 1
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.argv = ["serving", *request["words"]]
    sys.stdin = os.fdopen(0, "r", encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
    try:
        function()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _import_everything() -> None:
    """The program, and the modules that its verbs import when they are used."""
    for module in pkgutil.walk_packages(serving_network.__path__, "serving_network."):
        if not module.name.endswith(("__main__", "pytest_plugin")) and ".build" not in module.name:
            importlib.import_module(module.name)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise EOFError("the process that runs the program has ended")
        found += more
    return found
