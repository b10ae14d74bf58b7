"""TLS contexts: one for each set of settings in a whole runtime, made when the first connection needs it.

A context costs 18 ms and 0.8 MB: one for each service would cost a runtime with a thousand of them a gigabyte.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
from pathlib import Path

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
    cafile, capath = (config.ca_file, None) if config.ca_file is not None else _of_the_system()
    context = ssl.create_default_context(cafile=cafile, capath=capath)
    if context.keylog_filename is not None:  # the keys of all connections, for whoever can read that file
        context.keylog_filename = None  # type: ignore[assignment]
        _logger.warning("SSLKEYLOGFILE is set in the environment, and not followed: no keys are written")
    context.minimum_version = _VERSIONS[config.min_version]
    if config.cert_file is not None:
        context.load_cert_chain(config.cert_file, config.key_file)
    if not config.verify:
        _logger.warning("TLS certificates of a service on this machine are NOT verified, as its configuration says")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _of_the_system() -> tuple[str | None, str | None]:
    """Where OpenSSL was built to find the authorities of the system, whatever the environment says.

    Whoever can set a variable of the environment could else have us trust him. Where that place is not there (as in a
    Python that was built elsewhere), or is none (Windows), it is Python that finds them, by its own rules.
    """
    paths = ssl.get_default_verify_paths()
    cafile = paths.openssl_cafile if Path(paths.openssl_cafile).is_file() else None
    capath = paths.openssl_capath if Path(paths.openssl_capath).is_dir() else None
    if sys.platform == "win32" or cafile is capath is None:
        return None, None
    ignored = [name for name in (paths.openssl_cafile_env, paths.openssl_capath_env) if name in os.environ]
    if ignored:
        _logger.info("%s of the environment is not read: name the file as tls.ca_file", " and ".join(ignored))
    return cafile, capath
