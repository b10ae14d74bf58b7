"""How OAuth2 is configured: what cannot work is refused when it is read, and says how to mend it."""

from __future__ import annotations

import json

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey, OKPKey, RSAKey

import switchgear as sg
from switchgear.actors.config.signing import signing_key

URL = "https://auth.test/token"
SECRET = sg.Secret("s")
EC = ECKey.generate_key("P-256").as_pem(private=True).decode()
RSA = RSAKey.generate_key(2048)


def auth(**fields):
    return sg.OAuth2Auth(**({"client_id": "me", "token_url": URL, "client_secret": SECRET} | fields))


def fault(**fields):
    with pytest.raises(sg.ConfigError) as caught:
        auth(**fields)
    return str(caught.value)


def test_the_least_is_who_where_and_a_secret():
    assert auth().grant == "client_credentials"


def test_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("OAUTH_SECRET", "canary")
    monkeypatch.setenv("STORE_KEY", Fernet.generate_key().decode())
    path = tmp_path / "services.toml"
    path.write_text(
        """
[[services]]
name = "svc"
base_url = "https://svc.test"
[services.auth]
type = "oauth2"
issuer = "https://auth.test"
client_id = "me"
client_secret = { env = "OAUTH_SECRET" }
scope = ["read", "write"]
resource = ["https://svc.test/a", "https://svc.test/b"]
timeout = { total = 3, attempt = 1 }
store = { folder = "tokens", keys = [{ env = "STORE_KEY" }] }
"""
    )
    config = sg.load_config(path)
    loaded = config.services[0].auth
    assert isinstance(loaded, sg.OAuth2Auth)
    assert (loaded.client_secret.reveal(), loaded.timeout.attempt, len(loaded.store.keys)) == ("canary", 1.0, 1)
    assert "canary" not in repr(config)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"token_url": None}, "token_url: give the token endpoint, or the issuer"),
        ({"token_url": "http://auth.test/token"}, "token_url: must start with https://"),
        ({"token_url": "https://u:p@auth.test/token"}, "token_url: has credentials in it"),
        ({"token_url": "https://auth.test/token#x"}, "token_url: must have no query and no fragment"),
        ({"token_url": "https://auth.test/t\u00f6ken"}, "token_url: has characters in its path"),
        ({"token_url": "https://auth.test/token?a=\u00f6"}, "token_url: has characters in its path"),
        ({"issuer": "https://auth.test/?a=b"}, "issuer: must have no query"),
        ({"issuer": "http://auth.test"}, "issuer: must start with https://"),
        ({"client_id": ""}, "client_id: must be printable ASCII"),
        ({"client_id": "a\nb"}, "client_id: must be printable ASCII"),
        ({"client_secret": None}, "client_secret: is missing: client_secret_basic needs it"),
        ({"client_secret": sg.Secret("a\nb")}, "client_secret: must be printable"),
        ({"client_auth": "tls_client_auth"}, "client_secret: is of no use with client_auth = 'tls_client_auth'"),
        ({"client_auth": "tls_client_auth", "client_secret": None}, "tls.cert_file: is missing"),
        ({"client_auth": "private_key_jwt", "client_secret": None}, "private_key: is missing"),
        ({"private_key": sg.Secret(EC)}, "private_key: is of no use with client_auth = 'client_secret_basic'"),
        ({"client_auth": "none", "client_secret": None}, "client_auth: must not be 'none' for client_credentials"),
        ({"client_auth": "hmac"}, "client_auth: must be one of"),
        ({"grant": "refresh_token"}, "refresh_token: the grant needs one"),
        ({"refresh_token": sg.Secret("")}, "refresh_token: must be printable"),
        ({"scope": ["a b"]}, "scope[0]: must be one word"),
        ({"scope": ["a", 'b"']}, "scope[1]: must be one word"),
        ({"resource": ["api"]}, "resource[0]: must be an absolute URI"),
        ({"resource": ["https://api.test/#x"]}, "resource[0]: must be an absolute URI"),
        ({"default_lifetime": 0}, "default_lifetime: must be more than 0"),
        ({"tls": sg.TLSConfig(verify=False)}, "tls.verify: verify = false is only for services on this machine"),
        ({"timeout": sg.TimeoutConfig(header="X-Left")}, "timeout.header: is for services"),
        ({"breaker": sg.BreakerConfig(scope="operation")}, "breaker.scope: must be 'service'"),
    ],
)
def test_what_cannot_work_is_refused(fields, says):
    assert says in fault(**fields)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/token", "http://localhost/token", "http://[::1]/token", "https://a.test/t?tenant=1"]
)
def test_this_machine_may_be_asked_in_clear_and_an_endpoint_may_have_a_query(url):
    assert auth(token_url=url).token_url == url


@pytest.mark.parametrize("key", ["", "short", "\u00e9" * 32, "A" * 44, "a" * 43])
def test_a_key_of_the_store_is_one_of_fernet(key):
    with pytest.raises(sg.ConfigError) as caught:
        sg.TokenFile("tokens", [sg.Secret(key)])
    assert "keys[0]: is no key of Fernet" in str(caught.value)
    assert not key or key not in str(caught.value)


def test_a_store_without_a_key_is_none():
    with pytest.raises(sg.ConfigError, match="keys: must have one key at least"):
        sg.TokenFile("tokens", [])


KEYS = [
    (ECKey.generate_key("P-256"), None, "ES256"),
    (ECKey.generate_key("P-384"), "ES384", "ES384"),
    (ECKey.generate_key("P-521"), None, "ES512"),
    (RSA, None, "RS256"),
    (RSA, "PS256", "PS256"),
]


@pytest.mark.parametrize(("key", "algorithm", "used"), KEYS)
def test_the_algorithm_is_that_of_the_key(key, algorithm, used):
    for text in (key.as_pem(private=True).decode(), json.dumps(key.as_dict(private=True))):
        assert signing_key(text, algorithm).algorithm == used


def small_rsa():
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - joserfc would warn of it

    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return rsa.generate_private_key(65537, 1024).private_bytes(*form).decode()


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_short_rsa_key_is_none():
    with pytest.raises(ValueError, match="less than 2048 bits"):
        signing_key(small_rsa(), None)


@pytest.mark.parametrize(
    ("text", "algorithm", "says"),
    [
        ("", None, "is no private RSA or EC key"),
        ("{", None, "is no private RSA or EC key"),
        ("{}", None, "is no private RSA or EC key"),
        ('{"kty": "oct", "k": "AAAA"}', None, "is no private RSA or EC key"),
        ('{"kty": ["EC"]}', None, "is no private RSA or EC key"),
        ('{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}', None, "is no private RSA or EC key"),
        (OKPKey.generate_key("Ed25519").as_pem(private=True).decode(), None, "is no private RSA or EC key"),
        (ECKey.generate_key("secp256k1").as_pem(private=True).decode(), None, "is on a curve that is none of"),
        (RSA.as_pem(private=False).decode(), None, "is a public key"),
        (EC, "RS256", "is no key for RS256, but for ES256"),
        (RSA.as_pem(private=True).decode(), "ES256", "is no key for ES256, but for RS256 or PS256"),
    ],
    ids=range(11),
)
def test_a_key_that_cannot_sign_is_a_fault_of_the_configuration(text, algorithm, says):
    told = fault(client_auth="private_key_jwt", client_secret=None, private_key=sg.Secret(text), algorithm=algorithm)
    assert says in told
    assert told.startswith("private_key: ")


@pytest.mark.parametrize(
    ("package", "fields"),
    [
        ("joserfc", {"client_auth": "private_key_jwt", "client_secret": None, "private_key": sg.Secret(EC)}),
        ("cryptography", {"store": None}),
    ],
)
def test_what_is_not_installed_is_named(package, fields, monkeypatch):
    monkeypatch.setattr("switchgear.actors.config.check.importlib.util.find_spec", lambda name: None)
    if package == "cryptography":
        with pytest.raises(sg.ConfigError) as caught:
            sg.TokenFile("tokens", [sg.Secret(Fernet.generate_key().decode())])
        said = str(caught.value)
    else:
        said = fault(**fields)
    assert package in said
    assert "pip install 'switchgear[oauth2]'" in said
