# SPDX-License-Identifier: Apache-2.0
"""The paid routes of a gateway, by the type of the service."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Final

from serving_network.gateway.refusals import RequestRefused

MAX_PATH: Final = 256


class Route(Enum):
    """A paid route, by its path at the model server under /v1."""

    CHAT = "/chat/completions"
    COMPLETIONS = "/completions"
    RESPONSES = "/responses"
    MESSAGES = "/messages"
    EMBEDDINGS = "/embeddings"
    IMAGES = "/images/generations"
    IMAGE_EDITS = "/images/edits"
    TRANSCRIPTIONS = "/audio/transcriptions"

    @property
    def is_multipart(self) -> bool:
        """Whether requests are forms with files; the others are JSON."""
        return self in (Route.IMAGE_EDITS, Route.TRANSCRIPTIONS)

    @property
    def is_text(self) -> bool:
        """Whether the answer is text that a model generates token by token."""
        return self in _TEXT


_TEXT: Final = (Route.CHAT, Route.COMPLETIONS, Route.RESPONSES, Route.MESSAGES)

ROUTES_OF: Final = {
    "chatbot": _TEXT,
    "embedding": (Route.EMBEDDINGS,),
    "text-to-image": (Route.IMAGES,),
    "image-editing": (Route.IMAGE_EDITS,),
    "speech-to-text": (Route.TRANSCRIPTIONS,),
}


@lru_cache(256)
def normal_path(target: str) -> str:
    """The path of a request as a route spells it: no query, no doubled or trailing slash, no prefix of the gateway.

    The prefixes are /v1/proxy and /v1, each at most once: clients append /v1/chat/completions to either.
    """
    path = "/" + "/".join(part for part in target.partition("?")[0].split("/") if part)
    path = _without(_without(path, "/v1"), "/proxy") if path.startswith("/v1/proxy") else path
    return _without(path, "/v1")


def find_route(method: str, target: str, service_type: str) -> Route:
    """The paid route of a request. Raises RequestRefused with 404 or 405."""
    path = normal_path(target) if len(target) <= MAX_PATH else ""
    route = next((one for one in ROUTES_OF.get(service_type, ()) if one.value == path), None)
    if route is None:
        sold = ", ".join(f"/v1{one.value}" for one in ROUTES_OF.get(service_type, ()))
        raise RequestRefused(
            404,
            "unknown_route",
            f"This {service_type} service has no such route.",
            next_step=f"Its paid routes are {sold}." if sold else None,
        )
    if method != "POST":
        raise RequestRefused(405, "method_not_allowed", f"The route /v1{path} takes POST only.")
    return route


def _without(path: str, prefix: str) -> str:
    return path.removeprefix(prefix) if path.startswith(prefix + "/") else path
