# SPDX-License-Identifier: Apache-2.0
"""What anvil takes for the listing and for settlements, on a copy of the chain's state, with its HTTP server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from benchmarks.chain import Provider

RUNS: Final = 50
"""The processor time of another process is known in hundredths of a second only."""
_LISTENING: Final = re.compile(r"Listening on (127\.0\.0\.1:\d+)")


def anvil_ms(provider: Provider, chain_id: int) -> tuple[float, float] | None:
    """The milliseconds of CPU for the listing and for a settlement; None if anvil is not installed."""
    program = shutil.which("anvil")
    if program is None:
        return None
    with _started(program, chain_id) as (process, request):
        _copy_state(provider, request)
        asked = provider.asked(provider.listing())
        listing = _cpu_ms(process, lambda: request("eth_call", [asked, "latest"]))
        waiting = iter(provider.transactions(RUNS + 1))
        settling = _cpu_ms(process, lambda: _settle(request, next(waiting)))
    return listing, settling


def _settle(request: Callable[[str, list[Any]], Any], transaction: str) -> None:
    """Send a settlement, and wait until it is mined, which anvil does after it has answered."""
    sent = request("eth_sendRawTransaction", [transaction])
    end = time.monotonic() + 10
    while (receipt := request("eth_getTransactionReceipt", [sent])) is None and time.monotonic() < end:
        time.sleep(0.005)
    if receipt is None or receipt["status"] != "0x1":
        raise AssertionError("the settlement failed on anvil")


@contextmanager
def _started(program: str, chain_id: int) -> Iterator[tuple[int, Callable[[str, list[Any]], Any]]]:
    words = [program, "--port", "0", "--chain-id", str(chain_id), "--hardfork", "cancun"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603 - the program that was found
    try:
        found = next(match for match in map(_LISTENING.search, process.stdout or ()) if match)
        url = f"http://{found[1]}"

        def request(method: str, params: list[Any]) -> Any:
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
            headers = {"Content-Type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                content = json.load(answer)
            if "error" in content:
                raise AssertionError(f"{method}: {content['error']}")
            return content["result"]

        yield process.pid, request
    finally:
        process.kill()
        process.wait()


def _copy_state(provider: Provider, request: Callable[[str, list[Any]], Any]) -> None:
    world = provider.chain._chain.world
    for address, account in world._accounts.items():
        name = "0x" + address.hex()
        request("anvil_setBalance", [name, hex(account.balance)])
        request("anvil_setNonce", [name, hex(account.nonce)])
        if code := world.code(account.code_hash):
            request("anvil_setCode", [name, "0x" + code.hex()])
    for (address, slot), value in world._slots.items():
        words = [f"0x{number:064x}" for number in (slot, value)]
        request("anvil_setStorageAt", ["0x" + address.hex(), *words])


def _cpu_ms(process: int, work: Callable[[], object]) -> float:
    """The milliseconds of CPU that a process takes on average, after one time that is not counted."""
    work()
    before = _ticks(process)
    for _ in range(RUNS):
        work()
    return 1000 * (_ticks(process) - before) / os.sysconf("SC_CLK_TCK") / RUNS


def _ticks(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
