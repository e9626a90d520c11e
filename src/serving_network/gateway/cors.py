# SPDX-License-Identifier: Apache-2.0
"""Lets pages of any origin read answers: a token, not a cookie, says who asks."""

from __future__ import annotations

from typing import Final

from aiohttp import web

KEY_HEADER: Final = "ZG-Res-Key"
BOUND_HEADER: Final = "X-Serving-Output-Bound"
"""Set if free money covers less output than was asked: how many tokens it covers."""

_EXPOSED: Final = f"{KEY_HEADER}, {BOUND_HEADER}, Provider, Content-Type, Retry-After"
_METHODS: Final = "GET, POST, OPTIONS"
_CORS_SECONDS: Final = 12 * 3600


def cors_headers(request: web.BaseRequest) -> dict[str, str]:
    """The headers that an answer needs; none if no page asks."""
    origin = request.headers.get("Origin")
    if origin is None:
        return {}
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
        "Access-Control-Expose-Headers": _EXPOSED,
    }
    if request.method == "OPTIONS":
        headers |= {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": str(_CORS_SECONDS)}
        if asked := request.headers.get("Access-Control-Request-Headers"):
            headers["Access-Control-Allow-Headers"] = asked
    return headers
