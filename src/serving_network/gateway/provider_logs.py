# SPDX-License-Identifier: Apache-2.0
"""The provider's own logs, for the provider's command line on another machine.

It sends a session token that the provider's key signed for itself, in three headers: Address, Session-Token and
Session-Signature. Only the files of this gateway and its settler can be read, by the names in the list.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from serving_network.gateway.logs import settler_log
from serving_network.gateway.refusals import RequestRefused
from serving_network.messages.session_tokens import PREFIX, SESSION_ID, InvalidToken, check_bearer, read_token

_COMPONENTS: Final = {"broker": ("broker",), "event": ("event",), "both": ("broker", "event")}
"""Published clients know the gateway as the broker, and call what settles the event server."""


class ProviderLogs:
    """The log files beside `file`, and who may read them; without a file, the list is empty."""

    def __init__(self, provider: str, file: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._provider = provider
        self._file = file
        self._clock = clock

    def list(self, headers: Mapping[str, str], component: str) -> web.Response:
        """The list of the files. Raises InvalidToken and RequestRefused."""
        self._check(headers)
        return web.json_response({"logs": [_described(path, of) for path, of in self._files(component)]})

    def read(self, headers: Mapping[str, str], component: str, name: str) -> web.FileResponse:
        """One file. Raises InvalidToken and RequestRefused."""
        self._check(headers)
        for path, _ in self._files(component):
            if path.name == name:
                return web.FileResponse(path, headers={"Content-Type": "text/plain; charset=utf-8"})
        raise RequestRefused(404, "unknown_log", "There is no such log file.", next_step="Ask for /v1/logs.")

    def _check(self, headers: Mapping[str, str]) -> None:
        text = f"{headers.get('Session-Token', '')}|{headers.get('Session-Signature', '')}"
        token, signer = read_token(PREFIX + base64.b64encode(text.encode("utf-8", "replace")).decode("ascii"))
        check_bearer(token, signer, self._provider, int(self._clock() * 1000))
        if token.address.lower() != self._provider.lower() or token.token_id != SESSION_ID:
            raise InvalidToken("Only the provider reads its logs, with a session.")

    def _files(self, component: str) -> Iterator[tuple[Path, str]]:
        if component not in _COMPONENTS:
            raise RequestRefused(400, "invalid_value", "component is broker, event or both.", param="component")
        if self._file is None:
            return
        of_component = {"broker": self._file, "event": settler_log(self._file)}
        for one in _COMPONENTS[component]:
            current = of_component[one]
            for path in (current, *sorted(current.parent.glob(f"{current.name}.[0-9]*"))):
                if path.is_file():
                    yield path, one


def _described(path: Path, component: str) -> dict[str, Any]:
    found = path.stat()
    return {
        "name": path.name,
        "size": found.st_size,
        "modifiedTime": int(found.st_mtime),
        "isCurrentLog": not path.suffix[1:].isdecimal(),
        "component": component,
    }
