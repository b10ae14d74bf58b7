"""`proxy` and `http2` of a service: what is refused, what is masked, and what says which package is missing."""

import sys

import pytest

import switchgear as sg

PASSWORD = "hunter2-s3cret"


@pytest.mark.parametrize(
    "url", ["http://proxy:3128", "https://proxy.example.com", "socks5://[::1]:1080", "http://p:1/"]
)
def test_a_proxy_is_a_scheme_a_host_and_a_port(url):
    assert sg.ProxyConfig(url).url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("proxy:3128", "must start with"),
        ("ftp://proxy", "must start with"),
        ("socks5h://proxy", "must start with"),
        ("http://", "have a host"),
        ("http://proxy:99999", "cannot be read"),
        ("http://proxy/path", "no path"),
        ("http://proxy?x=1", "no query"),
        ("http://pro xy", "without spaces"),
        ("http://proxy\r\nX: y", "without spaces"),
    ],
)
def test_what_is_no_proxy_is_refused(url, reason):
    with pytest.raises(sg.ConfigError, match=f"url: .*{reason}"):
        sg.ProxyConfig(url)


def test_credentials_do_not_stand_in_the_url_and_are_not_quoted():
    with pytest.raises(sg.ConfigError, match="has credentials in it: use auth") as caught:
        sg.ProxyConfig(f"http://me:{PASSWORD}@proxy:3128")
    assert PASSWORD not in str(caught.value)


def test_credentials_come_by_reference_and_are_masked(monkeypatch):
    monkeypatch.setenv("PROXY_PASSWORD", PASSWORD)
    auth = {"type": "basic", "username": "me", "password": {"env": "PROXY_PASSWORD"}}
    service = {"name": "svc", "proxy": {"url": "http://proxy:3128", "auth": auth}}
    config = sg.load_config({"services": [service]})
    proxy = config.services[0].proxy
    assert proxy.auth.password.reveal() == PASSWORD
    assert "proxy:3128" in repr(config)
    assert PASSWORD not in repr(config)
    service["proxy"]["auth"] = auth | {"password": PASSWORD}
    with pytest.raises(sg.ConfigError, match=r"proxy\.auth\.password: a secret is given by reference") as caught:
        sg.load_config({"services": [service]})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(("name", "password"), [("", "p"), ("u", ""), ("u" * 256, "p"), ("u", "é" * 128)])
def test_socks_takes_short_credentials_only(name, password):
    auth = sg.BasicAuth(name, sg.Secret(password))
    with pytest.raises(sg.ConfigError, match="auth: SOCKS takes"):
        sg.ProxyConfig("socks5://proxy", auth)
    assert sg.ProxyConfig("http://proxy", auth).auth is auth


@pytest.mark.parametrize(
    ("package", "extra", "fields"),
    [
        ("h2", "http2", {"http2": True}),
        ("socksio", "socks", {"proxy": {"url": "socks5://proxy:1080"}}),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch, package, extra, fields):
    source = {"services": [{"name": "svc", **fields}]}
    assert sg.load_config(source).services
    monkeypatch.setitem(sys.modules, package, None)  # as `import` treats a package that is not there
    with pytest.raises(sg.ConfigError, match=rf"'{package}'.*pip install 'switchgear\[{extra}\]'"):
        sg.load_config(source)
    assert sg.load_config({"services": [{"name": "svc", "proxy": {"url": "http://proxy"}}]}).services


def test_nobody_is_trusted_unseen_who_is_not_on_this_machine():
    off = sg.TLSConfig(verify=False)
    local = sg.ProxyConfig("http://localhost:3128")
    assert sg.ServiceConfig("svc", "https://localhost", tls=off, proxy=local).proxy is local
    with pytest.raises(sg.ConfigError, match=r"tls\.verify: .*proxy"):  # the proxy's localhost is not ours
        sg.ServiceConfig("svc", "https://localhost", tls=off, proxy=sg.ProxyConfig("http://proxy:3128"))
    with pytest.raises(sg.ConfigError, match=r"tls\.verify"):
        sg.ProxyConfig("https://proxy:3128", tls=off)


def test_what_needs_other_connections():
    plain = sg.ServiceConfig("svc", "https://a")
    proxied = sg.ServiceConfig("svc", "https://a", proxy=sg.ProxyConfig("http://p", sg.BasicAuth("u", sg.Secret("p"))))
    again = sg.ServiceConfig("svc", "https://b", proxy=sg.ProxyConfig("http://p", sg.BasicAuth("u", sg.Secret("p"))))
    other = sg.ServiceConfig("svc", "https://a", proxy=sg.ProxyConfig("http://p", sg.BasicAuth("u", sg.Secret("q"))))
    assert proxied.way == again.way
    ways = {one.way for one in (plain, proxied, other, sg.ServiceConfig("svc", http2=True))}
    assert len(ways) == 4  # which are keys of dictionaries
