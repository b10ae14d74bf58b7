"""Instances from Consul. All times are seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from .auth import HeaderSecret
from .check import Name, Positive, Text, Url, base_path, between
from .exposure import is_exposed
from .record import Record
from .tls import TLSConfig, unverified_problem

if TYPE_CHECKING:
    from collections.abc import Iterator


class ConsulSource(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="consul"):
    """The instances of a service in Consul's catalogue that no check of its calls critical, followed by its HTTP API.

    Weights are Consul's (those for a warning where a check warns); ``metadata`` is the service's, with its tags: a tag
    ``region=eu`` is the key ``region``, any other has the value ``"true"``; ``version`` is what the metadata says.
    """

    service: Text
    """As Consul calls it."""
    url: Url = "http://127.0.0.1:8500"
    """Of the agent."""
    token: HeaderSecret | None = None
    """Sent as ``X-Consul-Token``."""
    tag: Text = ""
    """Only instances with this one."""
    datacenter: Text = ""
    """Empty: the agent's own."""
    scheme: Literal["http", "https"] = "http"
    """How the instances are called."""
    host: Text = ""
    """The name in their certificates and in ``Host``, where they are known by addresses."""
    path: Annotated[str, base_path] = ""
    """That all requests are under, as ``/v1``."""
    wait: Annotated[float, between(1, 600)] = 60.0
    """How long the agent may keep a question until something has changed."""
    timeout: Positive = 5.0
    """Of connecting, and of answering beyond the ``wait``."""
    tls: TLSConfig = TLSConfig()
    """For an agent at an ``https`` address."""
    name: Name = "consul"
    """Unique among the sources of its service."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """No token in clear over a network, and a service to ask for."""
        if record.service == "":
            yield "service", "must be the service's name in Consul"
        if record.token is not None and record.url is not None and is_exposed(record.url):
            yield "token", "would be sent over plain http, where anybody on the way can read it: use https://"
        if isinstance(record.tls, TLSConfig) and (problem := unverified_problem(record.tls, record.url)) is not None:
            yield "tls.verify", problem
