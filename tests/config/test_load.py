"""Files and dicts: every fault is found, with its file, its key and a reason; what is sound is loaded."""

import json
import os
import random
import tomllib
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.actors.config import (
    AlternativeFallback,
    BasicAuth,
    CacheFallback,
    DefaultFallback,
    Fault,
    RuntimeConfig,
    Secret,
    ServiceConfig,
    check_config,
    load_config,
)
from switchgear.actors.errors import ConfigError
from switchgear.actors.machines.balancers import BALANCERS

TOML = """
app_name = "shop"
grace = 2

[metrics]
port = 0
interval = 0.5

[[services]]
name = "accounts"
base_url = "https://accounts.example/v1"
headers = { "X-Tenant" = "7" }
auth = { type = "basic", username = "shop", password = { env = "ACCOUNTS_PASSWORD" } }
fallbacks = [{ type = "cache", max_age = 60, on = ["TIMEOUT"] }, { type = "default", value = { points = [1, 2] } }]

[services.retry]
max_attempts = 2
jitter = "equal"
statuses = [503]

[[services]]
name = "search"
balancer = "round_robin"
fallbacks = [{ type = "alternative", service = "accounts" }]

[[services.instances]]
endpoint = "http://10.0.0.1:8080"
weight = 2

[[services.instances]]
endpoint = "http://10.0.0.2:8080"
metadata = { zone = "b" }
"""


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def faults(source):
    """Key -> reason, of a source that has faults; and loading it says the same."""
    found = check_config(source)
    with pytest.raises(ConfigError) as caught:
        load_config(source)
    assert str(caught.value).splitlines() == [str(fault) for fault in found]
    assert all(isinstance(fault, Fault) for fault in found)
    keys = [fault.key for fault in found]
    assert len(set(keys)) == len(keys), keys
    return {fault.key: fault.reason for fault in found}


def test_a_toml_file(write, monkeypatch):
    monkeypatch.setenv("ACCOUNTS_PASSWORD", "canary")
    path = write("shop.toml", TOML)
    assert check_config(path) == []
    config = load_config(path)
    assert load_config(str(path)) == config
    assert load_config(config) is config
    accounts, search = config.services
    assert (config.app_name, config.grace, config.metrics.interval) == ("shop", 2.0, 0.5)
    assert accounts.auth == BasicAuth("shop", Secret("canary"))
    assert accounts.headers == {"X-Tenant": "7"}
    assert accounts.fallbacks == (CacheFallback(60, on=("TIMEOUT",)), DefaultFallback({"points": [1, 2]}))
    assert (accounts.retry.max_attempts, accounts.retry.jitter, accounts.retry.statuses) == (2, "equal", (503,))
    assert search.fallbacks == (AlternativeFallback("accounts"),)
    assert [instance.weight for instance in search.instances] == [2.0, 1.0]
    assert search.instances[1].metadata == {"zone": "b"}


def test_a_json_file_says_the_same_as_a_dict(write):
    data = {"services": [{"name": "a", "rate_limit": {"rate": 5}, "timeout": {"attempt": None}}]}
    path = write("a.json", json.dumps(data))
    assert load_config(path) == load_config(data) == load_config(types.MappingProxyType(data))
    assert load_config(data).services[0].timeout.attempt is None


def test_a_byte_order_mark_does_no_harm(write):
    for path in (write("a.toml", b"\xef\xbb\xbfgrace = 1"), write("a.json", b'\xef\xbb\xbf{"grace": 1}')):
        assert load_config(path).grace == 1.0


def test_every_fault_is_found_at_once_also_beside_others():
    kinds = "'alternative', 'cache', 'default', 'degrade', 'queue'"
    found = faults(
        {
            "grase": 1,
            "metrics": {"port": 70_000, "interval": float("nan"), "websocket": 1},
            "registry": [],
            "services": [
                {"name": "bad name!", "base_url": "ftp://x", "breaker": {"failure_treshold": 1, "reset_timeout": 0}},
                {"base_url": "http://a", "retry": {"max_attempts": 0, "jitter": "ful"}, "timeout": "5s"},
                {"name": "a", "fallbacks": [{"type": "alternative", "service": "gone"}, {"type": "cash"}, {}]},
                {"name": "a", "instances": [{"endpoint": "x"}, {"endpoint": "http://u:p@h", "weight": -1}, 5]},
                "nonsense",
                {"name": "b", "base_url": "http://b", "instances": [{"endpoint": "http://b"}]},
                {"name": "c", "rate_limit": {"rate": True}, "health_check": {"statuses": [300, 200], "path": "up"}},
                {"name": "c2", "rate_limit": {}, "fallbacks": {}, "balancer": "p3c", "headers": {"A": "x\n"}},
            ],
        }
    )
    assert found == {
        "grase": "unknown key; did you mean 'grace'?",
        "metrics.port": "must be from 0 to 65535, not 70000",
        "metrics.interval": "must be a finite number, not nan",
        "metrics.websocket": "must be true or false, not 1",
        "registry": "must be a table, not an array; its keys are check_health, advertise",
        "services[0].name": "must be 1 to 64 letters, digits, '.', '_' or '-', not 'bad name!'",
        "services[0].base_url": "must start with http:// or https:// and have a host, as https://api.example.com/v1",
        "services[0].breaker.failure_treshold": "unknown key; did you mean 'failure_threshold'?",
        "services[0].breaker.reset_timeout": "must be more than 0, not 0.0",
        "services[1].name": "is missing and has no default",
        "services[1].retry.max_attempts": "must be a whole number of at least 1, not 0",
        "services[1].retry.jitter": "must be one of 'none', 'full', 'equal', 'decorrelated', not 'ful'",
        "services[1].timeout": (
            "must be a table, not a text; its keys are total, attempt, connect, header, margin, drain"
        ),
        "services[2].fallbacks": "the alternative 'gone' is no service; known: a, b, c, c2",
        "services[2].fallbacks[1].type": f"must be one of {kinds}, not 'cash'",
        "services[2].fallbacks[2].type": f"must be one of {kinds}; it is missing",
        "services[3].name": "there is a service 'a' already",
        "services[3].instances[0].endpoint": (
            "must start with http:// or https:// and have a host, as https://api.example.com/v1"
        ),
        "services[3].instances[1].endpoint": 'has credentials in it: use auth = { type = "basic", ... } instead',
        "services[3].instances[1].weight": "must be from 0 to 1e+09, not -1.0",
        "services[3].instances[2]": (
            "must be a table, not a number; its keys are endpoint, id, weight, metadata, version, address"
        ),
        "services[4]": "must be a table, not a text",
        "services[5].base_url": "give either base_url or instances, not both",
        "services[6].rate_limit.rate": "must be a finite number, not True",
        "services[6].health_check.statuses": "the first must not be above the last, as in [300, 200]",
        "services[6].health_check.path": "must start with '/' and have no spaces, backslashes or '#', not 'up'",
        "services[7].rate_limit.rate": "is missing and has no default",
        "services[7].fallbacks": "must be an array, not a table: in TOML [[...]] begins each of its tables",
        "services[7].balancer": f"must be one of {', '.join(map(repr, BALANCERS))}, not 'p3c'",
        "services[7].headers": (
            "A: must be text of Latin-1, without line breaks, control characters, or spaces around it"
        ),
    }


def test_what_was_given_and_is_faulty_is_not_said_to_be_missing(monkeypatch):
    monkeypatch.delenv("UNSET", raising=False)
    unset = {"env": "UNSET"}
    auth = {"type": "oauth2", "client_id": "me", "token_url": "http://login.example/", "client_secret": unset}
    person = {
        "type": "oauth2",
        "client_id": "me",
        "issuer": "login.example",
        "client_auth": "none",
        "grant": "refresh_token",
        "refresh_token": unset,
    }
    services = [
        {"name": "a", "base_url": "https://a.example", "auth": auth, "fallbacks": [{"type": "queue"}]},
        {"name": "b", "base_url": "https://b.example", "auth": person, "tls": {"cert_file": 5, "key_file": __file__}},
    ]
    found = faults({"services": services, "metrics": {"host": "0.0.0.0", "token": unset}, "queue": {"path": 5}})
    assert {key: reason.partition(" (")[0] for key, reason in found.items()} == {
        "services[0].auth.token_url": "must start with https://: what is sent there is a secret",
        "services[0].auth.client_secret": "the environment variable UNSET is not set, or empty",
        "services[1].auth.issuer": "must start with http:// or https:// and have a host, as https://api.example.com/v1",
        "services[1].auth.refresh_token": "the environment variable UNSET is not set, or empty",
        "services[1].tls.cert_file": "must be text, not a number",
        "metrics.token": "the environment variable UNSET is not set, or empty",
        "queue.path": "must be text, not a number",
    }


@pytest.mark.parametrize(
    ("table", "key", "says"),
    [
        ({"auth": "s3cret"}, "auth", "its type is one of api_key, basic, bearer, custom, oauth2"),
        ({"bulkhead": {"adaptive": "aimd"}}, "bulkhead.adaptive", "its type is one of aimd, gradient2"),
        ({"health_check": "/health"}, "health_check", "its keys are path, "),
        ({"instances": {"endpoint": "https://a.example"}}, "instances", "in TOML [[...]] begins each of its tables"),
    ],
)
def test_a_single_value_in_the_place_of_a_table_is_told_what_the_table_has(table, key, says):
    ((where, reason),) = faults({"services": [{"name": "a", **table}]}).items()
    assert where == f"services[0].{key}"
    assert says in reason
    assert "s3cret" not in reason


def test_a_fault_names_its_file(write):
    path = write("shop.toml", "[[services]]\nname = 'a'\nbreaker = { enabled = 'no' }\n")
    (fault,) = check_config(path)
    assert str(fault) == f"{path}: services[0].breaker.enabled: must be true or false, not 'no'"


@pytest.mark.parametrize("source", [None, 5, [], b"x.toml", object()])
def test_what_is_no_configuration_at_all(source):
    assert list(faults(source)) == [""]


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [10**5000, -(10**5000), nested(100_000)], ids=["long", "negative", "deep"])
@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("grace", lambda value: {"grace": value}),
        ("metrics.port", lambda value: {"metrics": {"port": value}}),
        ("services[0].name", lambda value: {"services": [{"name": value}]}),
        ("services[0].balancer", lambda value: {"services": [{"name": "a", "balancer": value}]}),
        ("services[0].follow_redirects", lambda value: {"services": [{"name": "a", "follow_redirects": value}]}),
        ("services[0].retry.max_attempts", lambda most: {"services": [{"name": "a", "retry": {"max_attempts": most}}]}),
        ("services[0].auth.type", lambda value: {"services": [{"name": "a", "auth": {"type": value}}]}),
        (
            "services[0].fallbacks[0].on[0]",
            lambda value: {"services": [{"name": "a", "fallbacks": [{"type": "cache", "on": [value]}]}]},
        ),
        (
            "services[0].health_check.statuses",
            lambda value: {"services": [{"name": "a", "health_check": {"statuses": value}}]},
        ),
    ],
)
def test_what_python_cannot_write_is_a_fault_like_any_other(key, table, value):
    ((found, reason),) = faults(table(value)).items()
    assert found == key
    assert len(reason) < 400


def test_a_number_of_toml_that_python_cannot_write(write):
    assert faults(write("a.toml", f"grace = 0x{'f' * 6000}")) == {
        "grace": "must be a finite number, not one that is too large to be shown"
    }


def test_half_a_character_of_json_is_no_address(write):
    path = write("a.json", '{"services": [{"name": "a", "base_url": "http://a/\\ud800"}]}')
    assert list(faults(path)) == ["services[0].base_url"]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", "missing.pem", "/"])
def test_a_certificate_that_is_no_file(name):
    assert list(faults({"services": [{"name": "a", "tls": {"ca_file": name}}]})) == ["services[0].tls.ca_file"]


@pytest.mark.parametrize("key", [5, None, (), "services.0", "", "\n", "x" * 10_000, 10**5000], ids=range(8))
def test_keys_that_are_none(key):
    ((_, reason),) = faults({key: 1}).items()
    assert reason.startswith("unknown key")
    assert len(reason) < 200


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.toml", "x = [", "cannot be read: "),
        ("a.toml", "grace = 1\ngrace = 2", "cannot be read: "),
        ("a.toml", b"\xff", "cannot be read: 'utf-8' codec"),
        ("a.json", "{", "cannot be read: "),
        ("a.json", '{"grace": 1, "grace": 2}', "cannot be read: the key 'grace' is there twice"),
        ("a.json", "[" * 100_000, "cannot be read: it is nested too deeply"),
        ("a.json", "9" * 5000, "cannot be read: "),
        ("a.json", "[]", "must be a table, not an array"),
        ("a.json", "null", "must be a table, not nothing"),
        ("a.yaml", "grace: 1", "cannot be read: a configuration is a .toml or a .json file, not '.yaml'"),
        ("a", "", "cannot be read: a configuration is a .toml or a .json file, not 'one without a suffix'"),
    ],
)
def test_files_that_cannot_be_read(write, name, content, reason):
    path = write(name, content)
    (fault,) = check_config(path)
    assert (fault.source, fault.key) == (str(path), "")
    assert fault.reason.startswith(reason)
    assert list(faults(path)) == [""]


@pytest.mark.parametrize("name", ["missing.toml", "folder.toml", "a\0.toml", "x" * 300 + ".toml", "a.toml/b.toml"])
def test_files_that_are_none(tmp_path, name):
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "a.toml").write_text("")
    (reason,) = faults(f"{tmp_path}/{name}").values()
    assert reason.startswith("cannot be read: ")


def test_an_empty_file_is_a_configuration(write):
    assert load_config(write("a.toml", "")) == RuntimeConfig() == load_config({})


def test_records_may_stand_among_dicts():
    service = ServiceConfig("a")
    assert load_config({"services": [service, {"name": "b", "breaker": service.breaker}]}).services[0] is service


VALID = {
    "app_name": "shop",
    "grace": 2.5,
    "metrics": {"port": 0, "interval": 0.5, "host": "::1", "websocket": False, "max_subscribers": 3},
    "registry": {"check_health": False},
    "services": [
        {
            "name": "a",
            "base_url": "https://a/v1",
            "auth": {"type": "api_key", "key": {"env": "HOME"}, "location": "query"},
            "rate_limit": {"rate": 5, "per": 2, "burst": 3},
            "timeout": {"total": 3, "attempt": None, "connect": 1},
            "retry": {"max_attempts": 2, "base_delay": 0.5, "statuses": [503], "jitter": "none"},
            "breaker": {"failure_threshold": 2, "enabled": False},
            "bulkhead": {"max_concurrent": 1, "max_queue": 0, "when_full": "fail"},
            "fallbacks": [
                {"type": "cache", "max_age": 5, "on": ["TIMEOUT"]},
                {"type": "default", "value": [1]},
                {"type": "alternative", "service": "b"},
            ],
            "health_check": {"path": "/up", "statuses": [200, 204], "jitter": 0},
            "headers": {"X-A": "1"},
            "follow_redirects": True,
        },
        {
            "name": "b",
            "balancer": "weighted_random",
            "instances": [{"endpoint": "http://b1"}, {"endpoint": "http://b2", "id": "x", "weight": 0}],
        },
    ],
}

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 0, -1, 1.5, "a", "b", "http://x", "p2c", "TIMEOUT", "a\r\nb", [], {}]),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=3),
    st.recursive(
        st.one_of(st.integers(), st.text(max_size=3)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2),
            st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=2),
        ),
        max_leaves=4,
    ),
    st.builds(lambda: json.loads(json.dumps(VALID))),
)


def places(data):
    """All containers in ``data``, with their keys."""
    found = [(data, key) for key in (data if isinstance(data, dict) else range(len(data)))]
    for container, key in list(found):
        if isinstance(container[key], (dict, list)):
            found += places(container[key])
    return found


@settings(max_examples=300)
@given(st.data())
def test_any_change_ends_as_a_configuration_or_as_faults(data):
    config = json.loads(json.dumps(VALID))
    for _ in range(data.draw(st.integers(1, 4))):
        container, key = data.draw(st.sampled_from(places(config)))
        what = data.draw(st.sampled_from(["replace", "delete", "rename", "copy"]))
        if what == "replace":
            container[key] = data.draw(JUNK)
        elif what == "copy":
            other, at = data.draw(st.sampled_from(places(config)))
            container[key] = json.loads(json.dumps(other[at], default=str))
        elif what == "delete" or isinstance(container, list):
            del container[key]
        else:
            container[data.draw(st.text(max_size=4))] = container.pop(key)
        if not places(config):
            break
    found = check_config(config)
    try:
        loaded = load_config(config)
    except ConfigError as error:
        assert found
        assert str(error) == "\n".join(map(str, found))  # noqa: PT017
    else:
        assert not found
        assert isinstance(loaded, RuntimeConfig)
        assert load_config(loaded) is loaded


def test_independent_faults_are_all_found_in_whatever_combination():
    """Each of these is one fault by itself; together they are as many."""
    breaks = [
        ("metrics.port", lambda c: c["metrics"].update(port=-1)),
        ("grace", lambda c: c.update(grace="x")),
        ("services[0].name", lambda c: c["services"][0].update(name="a b")),
        ("services[0].base_url", lambda c: c["services"][0].update(base_url="x")),
        ("services[0].auth.key", lambda c: c["services"][0]["auth"].update(key="x")),
        ("services[0].retry.jitter", lambda c: c["services"][0]["retry"].update(jitter="x")),
        ("services[0].fallbacks[0].max_age", lambda c: c["services"][0]["fallbacks"][0].update(max_age=0)),
        ("services[0].fallbacks", lambda c: c["services"][0]["fallbacks"][2].update(service="zzz")),
        ("services[1].base_url", lambda c: c["services"][1].update(base_url="http://b")),
        ("services[1].instances[1]", lambda c: c["services"][1]["instances"][0].update(id="x")),
        ("services[1].nmae", lambda c: c["services"][1].update(nmae=1)),
    ]
    rng = random.Random(5)
    for _ in range(100):
        chosen = rng.sample(breaks, rng.randint(1, len(breaks)))
        config = json.loads(json.dumps(VALID))
        for _, change in chosen:
            change(config)
        assert set(faults(config)) == {key for key, _ in chosen}


def test_a_file_that_may_not_be_read(write):
    path = write("a.toml", "")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")
    assert "cannot be read" in faults(path)[""]


def test_the_file_in_the_reference_is_sound_and_so_is_the_one_that_it_names(monkeypatch):
    folder = Path(__file__).parents[2] / "docs" / "examples"
    monkeypatch.setenv("METRICS_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("SHOP_SECRET", "canary")
    assert check_config(folder / "services.toml") == []
    (source, *_) = load_config(folder / "services.toml").services[1].sources
    instances = tomllib.loads((folder / source.path).read_text())
    assert check_config({"services": [{"name": "search", **instances}]}) == []
