"""TLS contexts: one for each set of settings in a whole runtime, made when the first connection needs it.

A context costs 18 ms and 0.8 MB: one for each service would cost a runtime with a thousand of them a gigabyte.
"""

from __future__ import annotations

import logging
import ssl

from ..config import TLSConfig

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_logger = logging.getLogger("switchgear")


class TLSContexts:
    """Contexts by settings."""

    def __init__(self) -> None:
        self._made: dict[tuple[TLSConfig, bool], ssl.SSLContext] = {}

    def get(self, config: TLSConfig | None, *, http2: bool = False) -> ssl.SSLContext:
        """The context for these settings; None are the defaults.

        One that offers HTTP/2 is never one that does not: httpcore sets the protocols on the context that it is given,
        again with each connection, and whoever shares it would be answered in HTTP/2.

        Raises:
            ssl.SSLError, OSError: a file is not what it should be.
        """
        config = config or TLSConfig()
        context = self._made.get((config, http2))
        if context is None:
            context = self._made[config, http2] = _make(config)
            context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        return context


def _make(config: TLSConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ca_file)
    context.minimum_version = _VERSIONS[config.min_version]
    if config.cert_file is not None:
        context.load_cert_chain(config.cert_file, config.key_file)
    if not config.verify:
        _logger.warning("TLS certificates of a service on this machine are NOT verified, as its configuration says")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
