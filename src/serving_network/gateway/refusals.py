# SPDX-License-Identifier: Apache-2.0
"""Refusals in the form that OpenAI clients show: {"error": {"message", "type", "code", "param"}} and a status."""

from __future__ import annotations

import json
from typing import Final

from serving_network.errors import InvalidInput
from serving_network.untrusted import printable

RETRY_SECONDS: Final = 1
"""When to try again if nothing better is known."""

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_funds_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "upstream_error",
    503: "service_unavailable_error",
}


class RequestRefused(InvalidInput):
    """The gateway does not serve a request. `status` is the HTTP status, `param` the field that is wrong.

    With 429 and 503, `retry_after` is the number of seconds after which the client may try again.
    """

    content_type = "application/json"

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        next_step: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(printable(message), next_step=next_step)
        self.status = status
        self.code = code
        self.param = None if param is None else printable(param)
        self.retry_after = RETRY_SECONDS if retry_after is None and status in (429, 503) else retry_after

    def body(self) -> bytes:
        """The JSON body of the answer; the message includes the next step."""
        error = {
            "message": f"{self.message} {self.next_step}" if self.next_step else self.message,
            "type": _TYPES[self.status],
            "code": self.code,
            "param": self.param,
        }
        return json.dumps({"error": error}).encode()
