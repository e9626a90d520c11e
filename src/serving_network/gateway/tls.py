# SPDX-License-Identifier: Apache-2.0
"""TLS of the gateway's own listener, with a certificate that can be renewed while it runs."""

from __future__ import annotations

import logging
import ssl
from ipaddress import ip_address

from serving_network.errors import ConfigurationError
from serving_network.gateway.settings import Settings
from serving_network.untrusted import reason_of

_LOG = logging.getLogger("serving_network.gateway")


class Certificate:
    """The certificate and key of the settings. `context` is for the listener."""

    def __init__(self, cert: str, key: str) -> None:
        self._files = (cert, key)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.load()

    def reload(self) -> None:
        """As `load`, for a running gateway: a failure is logged, and the former certificate stays in use."""
        try:
            self.load()
        except ConfigurationError as error:
            _LOG.error("%s %s", error, error.cause)

    def load(self) -> None:
        """Read the files; new connections use what they contain now. Raises ConfigurationError."""
        try:
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"The certificate {self._files[0]} with the key {self._files[1]} cannot be used.",
                cause=f"{reason_of(error)}.",
                next_step="Correct tls_cert and tls_key in the settings.",
            ) from error


def certificate_of(settings: Settings, *, plain_http: bool) -> Certificate | None:
    """The certificate to listen with; None without TLS, which is refused off this machine unless `plain_http`."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        return Certificate(settings.tls_cert, settings.tls_key)
    if settings.tls_cert is not None or settings.tls_key is not None:
        raise ConfigurationError(
            "A certificate needs its key, and a key its certificate.",
            next_step="Set both tls_cert and tls_key in the settings, or neither.",
        )
    try:
        local = ip_address(settings.host).is_loopback
    except ValueError:
        local = settings.host == "localhost"
    if not local and not plain_http:
        raise ConfigurationError(
            f"The gateway would listen on {settings.host} without TLS.",
            cause="Session tokens are sent in the clear, and anybody who has one can spend its user's balance.",
            next_step="Set tls_cert and tls_key, listen on 127.0.0.1 behind nginx or Caddy, or pass --plain-http.",
        )
    return None
