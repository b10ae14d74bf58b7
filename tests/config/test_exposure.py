"""Credentials do not go over plain http to another machine, unless that is said."""

from __future__ import annotations

import pytest

import switchgear as sg
from switchgear.actors.config import check_config

KEY = sg.Secret("canary-77")
FAR = ["http://api.example.com", "http://10.0.0.1:80/v1", "http://[2001:db8::1]", "http://localhost.example.com"]
NEAR = ["http://127.0.0.1:8080", "http://127.9.9.9", "http://[::1]:80", "http://localhost", "http://a.localhost"]
AUTHS = [sg.ApiKeyAuth(KEY), sg.ApiKeyAuth(KEY, location="query"), sg.BearerAuth(KEY), sg.BasicAuth("u", KEY)]


@pytest.mark.parametrize("url", FAR)
@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: type(auth).__name__)
def test_refused_with_what_to_do(url, auth) -> None:
    for where in ({"base_url": url}, {"instances": [sg.InstanceConfig(url)]}):
        with pytest.raises(sg.ConfigError, match="auth would send credentials over plain http") as caught:
            sg.ServiceConfig("svc", auth=auth, **where)
        text = str(caught.value)
        assert text.startswith(("base_url: ", "instances[0].endpoint: "))
        assert "use https://" in text
        assert "allow_plain_http = true" in text
        assert "canary" not in text
        assert sg.ServiceConfig("svc", auth=auth, allow_plain_http=True, **where).allow_plain_http
        assert sg.ServiceConfig("svc", **where).auth is None


@pytest.mark.parametrize("url", [*NEAR, "https://api.example.com"])
def test_not_to_this_machine_or_over_tls(url) -> None:
    assert sg.ServiceConfig("svc", url, auth=AUTHS[0]).auth == AUTHS[0]


@pytest.mark.parametrize("name", ["Authorization", "cookie", "X-API-Key", "X-Auth-Token", "X-Client-Secret"])
def test_a_header_that_looks_like_one_is_one(name) -> None:
    with pytest.raises(sg.ConfigError, match=f"header '{name}' would send credentials"):
        sg.ServiceConfig("svc", FAR[0], headers={"Accept": "x", name: "canary-77"})
    assert sg.ServiceConfig("svc", FAR[0], headers={"Accept": "x", "X-Tenant": "7"}).headers


def test_whatever_its_name_a_secret_is_one() -> None:
    with pytest.raises(sg.ConfigError, match="header 'X-Tenant' would send credentials"):
        sg.ServiceConfig("svc", FAR[0], headers={"X-Tenant": KEY})


def test_behind_a_proxy_on_another_machine_this_one_is_not_this_one() -> None:
    proxy = sg.ProxyConfig("http://proxy.example:3128")
    with pytest.raises(sg.ConfigError, match="over plain http"):
        sg.ServiceConfig("svc", NEAR[0], auth=AUTHS[0], proxy=proxy)
    assert sg.ServiceConfig("svc", NEAR[0], auth=AUTHS[0], proxy=sg.ProxyConfig("http://127.0.0.1:3128")).proxy
    assert sg.ServiceConfig("svc", "https://api.example.com", auth=AUTHS[0], proxy=proxy).proxy


def test_a_file_says_where_it_is() -> None:
    data = {
        "name": "svc",
        "headers": {"X-API-Key": "canary-77"},
        "instances": [{"endpoint": "https://a.test"}, {"endpoint": "http://b.test"}],
    }
    with pytest.raises(sg.ConfigError, match=r"services\[0\]\.instances\[1\]\.endpoint: header 'X-API-Key' would send"):
        sg.load_config({"services": [data]})


@pytest.mark.parametrize("credentials", [{"auth": sg.BearerAuth(sg.Secret("x"))}, {"headers": {"X-API-Key": "x"}}])
@pytest.mark.parametrize("allow_plain_http", [False, True])
def test_targets_that_dns_names_have_to_prove_to_be_the_service(credentials, allow_plain_http):
    def service(**fields):
        source = sg.SrvSource(record="_https._tcp.bank.test", **fields)
        return sg.ServiceConfig("svc", sources=[source], allow_plain_http=allow_plain_http, **credentials)

    with pytest.raises(sg.ConfigError, match=r"sources\[0\].host: is missing: with credentials"):
        service()
    assert service(host="bank.test").sources[0].host == "bank.test"
    assert service(scheme="http").sources  # where nobody proves anything: what is exposed there is the border's affair


def test_the_same_in_a_file_and_without_credentials_any_target_will_do():
    source = {"type": "srv", "record": "_https._tcp.bank.test"}
    known = {"name": "svc", "sources": [source]}
    assert check_config({"services": [known]}) == []
    key = {"type": "bearer", "token_file": "token"}
    (fault,) = check_config({"services": [known | {"auth": key}]})
    assert fault.key == "services[0].sources[0].host"
