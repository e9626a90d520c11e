# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving_network.contracts.models import Offer
from serving_network.errors import ConfigurationError
from serving_network.gateway.settings import Settings, read_settings, render_settings

PROVIDER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
UPSTREAM = "http://127.0.0.1:8000/v1"
OFFER = Offer("chatbot", "https://a.example", 'a "model"\\\n\x7f', "TeeML", 100, 200, "{}", PROVIDER)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(f'provider = "{PROVIDER}"\nupstream = "{UPSTREAM}"\nport = 1\naliases = ["x"]\n')
    return path


def test_options_override_variables_which_override_the_file(file: Path) -> None:
    environment = {"SERVING_GATEWAY_PORT": "2", "SERVING_GATEWAY_CONTEXT": "8192", "SERVING_GATEWAY_ALIASES": "a, b"}
    found = read_settings(file, environment, {"port": "3"})
    assert (found.port, found.context, found.aliases) == (3, 8192, ["a", "b"])
    assert read_settings(file, {}, {}).aliases == ["x"]


def test_no_file_is_needed(tmp_path: Path) -> None:
    environment = {
        "SERVING_GATEWAY_PROVIDER": PROVIDER,
        "SERVING_GATEWAY_UPSTREAM": UPSTREAM,
        "SERVING_GATEWAY_UPSTREAM_HEADERS": '{"Authorization": "Bearer key"}',
    }
    found = read_settings(tmp_path / "none.toml", environment, {})
    assert found == Settings(PROVIDER, UPSTREAM, upstream_headers={"Authorization": "Bearer key"})
    del environment["SERVING_GATEWAY_UPSTREAM"]
    with pytest.raises(ConfigurationError, match="There is no file") as failure:
        read_settings(tmp_path / "none.toml", environment, {})
    assert "SERVING_GATEWAY_UPSTREAM" in str(failure.value.cause)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "x"),
        ("context", "0"),
        ("max_requests", "-1"),
        ("upstream", "ftp://a"),
        ("output_field", "other"),
        ("signer", "cloud"),
        ("settle_above", "much"),
        ("settle_above", "all"),
        ("settle_seconds", "1.5"),
        ("upstream_headers", "no JSON"),
        ("upstream_headers", '{"Authorization": "secret\\nX: y"}'),
        ("service", '{"color": "red"}'),
        ("service", '{"input_price": "cheap"}'),
        ("other", "1"),
    ],
)
def test_a_setting_that_cannot_be_used(file: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as failure:
        read_settings(file, {}, {name: value})
    assert name in str(failure.value.cause)
    assert "secret" not in str(failure.value.cause)


def test_the_written_file_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(
        render_settings(PROVIDER, UPSTREAM, OFFER, host="::1", port=7, settle_key="k", signer="dstack"),
        encoding="utf-8",
    )
    found = read_settings(path, {}, {})
    assert (found.host, found.port, found.settle_key, found.signer) == ("::1", 7, "k", "dstack")
    wanted: dict[str, Any] = found.service
    assert Offer(**wanted) == OFFER
