# SPDX-License-Identifier: Apache-2.0
"""Paths to routes, by an allow-list, and the form of refusals."""

from __future__ import annotations

import json

import pytest

from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.routes import ROUTES_OF, Route, find_route, normal_path


@pytest.mark.parametrize(
    "target",
    [
        "/v1/proxy/chat/completions", "/v1/chat/completions", "/v1/proxy/v1/chat/completions", "/chat/completions",
        "//v1//proxy//chat//completions//", "/v1/proxy/chat/completions?model=a%20b", "/v1/chat/completions/",
    ],
)  # fmt: skip
def test_a_route_is_found_under_all_its_prefixes(target: str) -> None:
    assert find_route("POST", target, "chatbot") is Route.CHAT


@pytest.mark.parametrize(
    "target",
    [
        "", "/", "/v1", "/v1/proxy", "*", "/v1/proxy/models", "/v1/chat", "/v1/proxy/../chat/completions",
        "/v1/proxy/%63hat/completions", "/v1/CHAT/completions", "/proxy/chat/completions", "/v1/v1/v1/chat/completions",
        "/v1/proxy/proxy/chat/completions", "/v1x/chat/completions", "http://h/v1/chat/completions",
        "/v1/chat/completions;x", "/v1/chat/completions\n", "/v1/embeddings", "/v1/images/generations",
        "/v1/chat/completions?" + "x" * 256, "/v1/fine_tuning/jobs", "/v1/responses/resp_1",
    ],
)  # fmt: skip
def test_everything_else_is_unknown(target: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        find_route("POST", target, "chatbot")
    assert (refused.value.status, refused.value.code) == (404, "unknown_route")
    assert "/v1/chat/completions" in refused.value.body().decode()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "post", "CONNECT"])
def test_a_paid_route_takes_post_only(method: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        find_route(method, "/v1/chat/completions", "chatbot")
    assert refused.value.status == 405


def test_a_target_has_a_longest_size() -> None:
    assert find_route("POST", "/v1/chat/completions?".ljust(256, "x"), "chatbot") is Route.CHAT
    with pytest.raises(RequestRefused):
        find_route("POST", "/v1/chat/completions?".ljust(257, "x"), "chatbot")


def test_each_service_has_its_own_routes() -> None:
    assert list(ROUTES_OF) == ["chatbot", "embedding", "text-to-image", "image-editing", "speech-to-text"]
    for service_type, routes in ROUTES_OF.items():
        for route in Route:
            if route in routes:
                assert find_route("POST", f"/v1{route.value}", service_type) is route
            else:
                with pytest.raises(RequestRefused):
                    find_route("POST", f"/v1{route.value}", service_type)
    with pytest.raises(RequestRefused, match="zgStorage"):
        find_route("POST", "/v1/chat/completions", "zgStorage")


def test_free_routes_are_normalised_the_same_way() -> None:
    assert normal_path("/v1/proxy/signature/AbC?model=a/b") == "/signature/AbC"
    assert normal_path("//v1/models/") == "/models"


def test_a_refusal_has_the_form_that_openai_clients_show() -> None:
    refused = RequestRefused(400, "invalid_value", "n is\x1b[31m wrong.", param="n\n", next_step="Send 1.")
    assert json.loads(refused.body()) == {
        "error": {
            "message": "n is\\x1b[31m wrong. Send 1.",
            "type": "invalid_request_error",
            "code": "invalid_value",
            "param": "n\\n",
        }
    }
    assert json.loads(RequestRefused(503, "busy", "Busy.").body())["error"] == {
        "message": "Busy.",
        "type": "service_unavailable_error",
        "code": "busy",
        "param": None,
    }
