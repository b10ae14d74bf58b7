"""What a record refuses when it is made in code, field by field, and what it makes of what it takes."""

import copy
import math
import pickle
import types
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import switchgear as sg
from switchgear.actors.config import (
    AimdConfig,
    AlternativeFallback,
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    BreakerConfig,
    BulkheadConfig,
    CacheFallback,
    CoDelConfig,
    DefaultFallback,
    Gradient2Config,
    HealthCheckConfig,
    InstanceConfig,
    MetricsConfig,
    OutlierConfig,
    ProxyConfig,
    QueueConfig,
    QueueFallback,
    RateLimit,
    RegistryConfig,
    RetryPolicy,
    RuntimeConfig,
    Secret,
    ServiceConfig,
    TimeoutConfig,
    TLSConfig,
    check,
)
from switchgear.actors.config.runtime import alternatives
from switchgear.actors.errors import ConfigError, ErrorCode

ALL = {
    ApiKeyAuth: {"key": Secret("k")},
    BearerAuth: {"token": Secret("t")},
    BasicAuth: {"username": "u", "password": Secret("p")},
    BreakerConfig: {},
    OutlierConfig: {},
    RetryPolicy: {},
    RateLimit: {"rate": 1.0},
    TimeoutConfig: {},
    BulkheadConfig: {},
    AimdConfig: {},
    Gradient2Config: {},
    CoDelConfig: {},
    HealthCheckConfig: {},
    CacheFallback: {},
    DefaultFallback: {"value": None},
    AlternativeFallback: {"service": "other"},
    QueueFallback: {},
    QueueConfig: {"path": "queue.db"},
    InstanceConfig: {"endpoint": "http://a"},
    ServiceConfig: {"name": "a"},
    TLSConfig: {},
    ProxyConfig: {"url": "http://proxy:3128"},
    MetricsConfig: {},
    RegistryConfig: {},
    RuntimeConfig: {},
}
FIELDS = [(struct, field) for struct in ALL for field in struct.__struct_fields__]
ANYTHING = {(DefaultFallback, "value")}

# What no field at all may hold, by the name of its basic type in the annotation.
WRONG = {
    float: [math.nan, math.inf, -math.inf, True, "1", None, [], 10**400, -1, object()],
    int: [math.nan, 1.5, 1.0, True, "1", [], -1, 10**20],
    str: [1, True, b"x", [], {}, "a\r\nb", "a\nb", "a\0b", "\x7f"],
    bool: [0, 1, "yes", None],
    Secret: ["literal", None, b"x"],
}


def basic(type_):
    """The types below Annotated and `| None`, and whether None is one of them."""
    members = (
        typing.get_args(type_)
        if isinstance(type_, types.UnionType) or typing.get_origin(type_) is typing.Union
        else (type_,)
    )
    return {typing.get_args(one)[0] if typing.get_origin(one) is typing.Annotated else one for one in members}


def cases():
    for struct, field in FIELDS:
        kinds = basic(typing.get_type_hints(struct, include_extras=True)[field])
        for kind, values in WRONG.items():
            if kind in kinds:
                for value in values:
                    if not (value is None and type(None) in kinds):
                        yield pytest.param(struct, field, value, id=f"{struct.__name__}.{field}={value!r:.20}")


@pytest.mark.parametrize(("struct", "field", "value"), list(cases()))
def test_what_is_no_such_value_is_refused_with_its_key(struct, field, value):
    with pytest.raises(ConfigError, match=rf"^{field}"):
        struct(**(ALL[struct] | {field: value}))


@pytest.mark.parametrize(("struct", "field"), [case for case in FIELDS if case not in ANYTHING])
def test_no_field_takes_just_anything(struct, field):
    for value in (object(), {1: 2}, [object()], {"x": 1}, ("a\nb",)):
        with pytest.raises(ConfigError, match=rf"^{field}"):
            struct(**(ALL[struct] | {field: value}))


@pytest.mark.parametrize("struct", ALL)
@given(data=st.data())
def test_whatever_is_given_it_is_a_record_or_a_config_error(struct, data):
    junk = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=3),
        st.lists(st.one_of(st.integers(), st.text(max_size=3)), max_size=3),
        st.dictionaries(st.text(max_size=3), st.one_of(st.text(max_size=3), st.integers()), max_size=2),
        st.sampled_from([object(), Secret("x"), BreakerConfig(), CacheFallback(), ServiceConfig("z")]),
    )
    keys = data.draw(st.sets(st.sampled_from(struct.__struct_fields__)))
    try:
        made = struct(**(ALL[struct] | {key: data.draw(junk, label=key) for key in keys}))
    except ConfigError as error:
        assert any(str(error).startswith(key) for key in struct.__struct_fields__)  # noqa: PT017
    else:
        assert isinstance(hash(type(made)), int)
        assert repr(made)


BAD = [
    (BreakerConfig, {"failure_threshold": 0}, "failure_threshold: must be a whole number of at least 1, not 0"),
    (BreakerConfig, {"reset_timeout": 0}, "reset_timeout: must be more than 0, not 0"),
    (BreakerConfig, {"half_open_max_requests": 0}, "half_open_max_requests: must be a whole number of at least 1"),
    (
        HealthCheckConfig,
        {"kind": "tcp", "unhealthy_statuses": [503]},
        "unhealthy_statuses: a check that only connects sees none: leave them out, or use kind = .http.",
    ),
    (HealthCheckConfig, {"unhealthy_statuses": ["6xx"]}, "unhealthy_statuses.0.: must be an HTTP status"),
    (HealthCheckConfig, {"kind": "udp"}, "kind: must be one of 'http', 'tcp', not 'udp'"),
    (
        ServiceConfig,
        {"proxy": ProxyConfig("http://127.0.0.1:3128"), "health_check": HealthCheckConfig(kind="tcp")},
        "health_check.kind: a proxy is no way for a check that only connects",
    ),
    (ServiceConfig, {"panic_threshold": 1.5}, "panic_threshold: must be from 0 to 1, not 1.5"),
    (ServiceConfig, {"slow_start": 9, "balancer": "maglev"}, "slow_start: cannot be had with maglev"),
    (ServiceConfig, {"slow_start": 0}, "slow_start: must be from 0.001 to"),
    (OutlierConfig, {"max_ejected": 0}, "max_ejected: must be from 0.001 to 1, not 0"),
    (
        OutlierConfig,
        {"consecutive_failures": None, "failure_rate": None, "success_rate_factor": None},
        "consecutive_failures: no rule is left: set outlier to None instead",
    ),
    (OutlierConfig, {"max_ejection_time": 20}, "max_ejection_time: must not be less than ejection_time .30"),
    (RetryPolicy, {"multiplier": 0.5}, "multiplier: must be from 1 to 100, not 0.5"),
    (RetryPolicy, {"jitter": "some"}, "jitter: must be one of 'none', 'full', 'equal', 'decorrelated', not 'some'"),
    (RetryPolicy, {"statuses": [503, 200]}, r"statuses\[1\]: must be from 400 to 599, not 200"),
    (RetryPolicy, {"statuses": "503"}, "statuses: must be an array, not a text"),
    (RateLimit, {"rate": 0}, "rate: must be more than 0"),
    (RateLimit, {"rate": 1e200, "per": 1e-200}, "rate: must come to"),
    (RateLimit, {"rate": 5e-324, "per": 1e200}, "rate: must come to"),
    (RateLimit, {"rate": 1, "burst": 0}, "burst: must be a whole number of at least 1"),
    (BulkheadConfig, {"when_full": "drop"}, "when_full: must be one of 'wait', 'fail'"),
    (BulkheadConfig, {"adaptive": CoDelConfig()}, "adaptive: must be a AimdConfig or Gradient2Config"),
    (
        BulkheadConfig,
        {"max_concurrent": 5, "adaptive": AimdConfig(min_limit=6)},
        "adaptive: its min_limit of 6 must not be more than max_concurrent .5.: raise that",
    ),
    (BulkheadConfig, {"max_wait": 0.005, "codel": CoDelConfig()}, "max_wait: must be more than codel.target .0.005.,"),
    (
        BulkheadConfig,
        {"max_queue": 0, "when_full": "fail", "max_wait": 1},
        "max_wait: nothing waits with max_queue = 0",
    ),
    (BulkheadConfig, {"max_queue": 0, "when_full": "fail", "codel": CoDelConfig()}, "codel: nothing waits with max_q"),
    (CoDelConfig, {"target": 0.1}, "target: must be less than interval"),
    (AimdConfig, {"backoff_ratio": 1}, "backoff_ratio: must be from 0.5 to 0.99, not 1"),
    (Gradient2Config, {"tolerance": 0.5}, "tolerance: must be from 1 to 10, not 0.5"),
    (HealthCheckConfig, {"path": "health"}, "path: must start with '/'"),
    (HealthCheckConfig, {"path": "/a b"}, "path: must start with '/'"),
    (HealthCheckConfig, {"path": "/a\r\nX: y"}, "path: must start with '/'"),
    (HealthCheckConfig, {"statuses": (399, 200)}, "statuses: the first must not be above the last"),
    (HealthCheckConfig, {"statuses": (200, 299, 399)}, "statuses: must be an array of 2"),
    (HealthCheckConfig, {"statuses": (200, 600)}, "statuses.*: must be from 100 to 599"),
    (HealthCheckConfig, {"jitter": 1.1}, "jitter: must be from 0 to 1"),
    (HealthCheckConfig, {"interval": 1e-9}, "interval: must be from 0.001"),
    (CacheFallback, {"on": ["TIMEOUT", "LATE"]}, r"on\[1\]: must be one of CIRCUIT_OPEN, .*, not 'LATE'"),
    (AlternativeFallback, {"service": "a b"}, "service: must be 1 to 64 letters"),
    (InstanceConfig, {"weight": -0.5}, "weight: must be from 0"),
    (InstanceConfig, {"metadata": {"a": 1}}, r"metadata\.a: must be text"),
    (ServiceConfig, {"name": ""}, "name: must be 1 to 64 letters"),
    (ServiceConfig, {"name": "a/b"}, "name: must be 1 to 64 letters"),
    (ServiceConfig, {"name": "a" * 65}, "name: must be 1 to 64 letters"),
    (ServiceConfig, {"balancer": "best"}, "balancer: must be one of 'p2c'"),
    (ServiceConfig, {"breaker": {"failure_threshold": 3}}, "breaker: must be a BreakerConfig, not a table"),
    (ServiceConfig, {"breaker": None}, "breaker: must be a BreakerConfig, not nothing"),
    (
        ServiceConfig,
        {"auth": Secret("x")},
        "auth: must be a ApiKeyAuth or BearerAuth or BasicAuth or OAuth2Auth or CustomAuth, not a Secret",
    ),
    (ServiceConfig, {"fallbacks": CacheFallback()}, "fallbacks: must be an array"),
    (ServiceConfig, {"fallbacks": [None]}, r"fallbacks\[0\]: must be a CacheFallback or"),
    (ServiceConfig, {"headers": {"A B": "x"}}, "headers: 'A B' is not a header name"),
    (ServiceConfig, {"headers": {"A": "x", "a": "y"}}, "headers: a is there twice"),
    (ServiceConfig, {"headers": {"Host": "x"}}, "headers: Host is set by Switchgear"),
    (ServiceConfig, {"headers": {"content-length": "1"}}, "headers: content-length is set by Switchgear"),
    (ServiceConfig, {"base_url": "http://a", "instances": [InstanceConfig("http://b")]}, "base_url: give either"),
    (ServiceConfig, {"instances": [InstanceConfig("http://b")] * 2}, r"instances\[1\]: there is an instance"),
    (ServiceConfig, {"instances": [InstanceConfig("http://b", "x"), InstanceConfig("http://c", "x")]}, "instances"),
    (ServiceConfig, {"base_url": "https://a.example", "tls": TLSConfig(verify=False)}, "tls.verify: "),
    (MetricsConfig, {"port": 65536}, "port: must be from 0 to 65535"),
    (MetricsConfig, {"host": "0.0.0.0"}, "host: must be this machine"),
    (MetricsConfig, {"host": ""}, "host: must be an address"),
    (MetricsConfig, {"host": "[::1]"}, "host: must be an address"),
    (MetricsConfig, {"interval": 0}, "interval: must be from 0.001"),
    (RuntimeConfig, {"services": [ServiceConfig("a"), ServiceConfig("a")]}, r"services\[1\].name: there is a service"),
    (RuntimeConfig, {"app_name": " a"}, "app_name: must be text of Latin-1"),
    (RuntimeConfig, {"app_version": "1\r\nX: y"}, "app_version: must be text of Latin-1"),
    (TLSConfig, {"min_version": "1.1"}, "min_version: must be one of '1.2', '1.3'"),
    (TLSConfig, {"key_file": __file__}, "key_file: is of no use without cert_file"),
    (TLSConfig, {"ca_file": "/no/such.pem"}, "ca_file: there is no file '/no/such.pem'"),
    (BasicAuth, {"username": "a:b"}, "username: must not have a ':'"),
    (BasicAuth, {"password": Secret("a\nb")}, "password: must have no control characters"),
    (ApiKeyAuth, {"name": "X Key"}, "name: 'X Key' is not a header name"),
    (ApiKeyAuth, {"name": "Content-Length"}, "name: Content-Length is set by Switchgear"),
    (ApiKeyAuth, {"name": "HOST"}, "name: HOST is set by Switchgear"),
    (BearerAuth, {"token": Secret("a\r\nX: y")}, "token: must be text of Latin-1"),
]


@pytest.mark.parametrize(("struct", "fields", "text"), BAD)
def test_it_says_what_is_wrong_and_what_would_do(struct, fields, text):
    with pytest.raises(ConfigError, match=f"^{text}"):
        struct(**(ALL[struct] | fields))


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\n", "\ra", "a\0", "€", "a ", "\ta", "\x7f"])
def test_a_header_cannot_split_a_request_and_is_not_quoted(value):
    with pytest.raises(ConfigError, match=r"headers: X-Canary: must be text") as caught:
        ServiceConfig("a", headers={"X-Canary": f"canary{value}" if value[0] not in "\r\t" else f"{value}canary"})
    assert "canary" not in str(caught.value).replace("X-Canary", "")


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ConfigError) as caught:
        BreakerConfig(0, -1.0, math.nan, True, "yes")
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == list(BreakerConfig.__struct_fields__)[
        :5
    ]


GOOD_URLS = [
    "http://a",
    "https://api.example.com/v1/",
    "http://127.0.0.1:8080",
    "http://[::1]:80/x",
    "http://a:65535",
    "http://bücher.example",
    "HTTP://a",
]
BAD_URLS = {
    "": "must start with http",
    "a": "must start with http",
    "/v1": "must start with http",
    "ftp://a": "must start with http",
    "http://": "must start with http",
    "http:///x": "must start with http",
    "http://:80": "must start with http",
    "http://a:0": "must start with http",
    "http://a:65536": "cannot be read",
    "http://a:x": "cannot be read",
    "http://[::1": "cannot be read",
    "http://a b": "without spaces",
    "http://a\r\nb": "without spaces",
    "http://a\\b": "without spaces",
    " http://a": "without spaces",
    "http://a/?q=1": "no query",
    "http://a/#f": "no query",
    "http://a?": "no query",
    "http://a/../b": "'.' or '..'",
    "http://a/.": "'.' or '..'",
    f"http://{'a' * 64}": "no name server",
    "http://a..b": "no name server",
}


@pytest.mark.parametrize("url", GOOD_URLS)
def test_a_base_url(url):
    assert ServiceConfig("a", url).base_url == url
    assert InstanceConfig(url).endpoint == url


@pytest.mark.parametrize(("url", "text"), list(BAD_URLS.items()))
def test_what_is_no_base_url(url, text):
    with pytest.raises(ConfigError, match=rf"^base_url: .*{text}"):
        ServiceConfig("a", url)
    with pytest.raises(ConfigError, match=rf"^endpoint: .*{text}"):
        InstanceConfig(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://canary@a",
        "http://u:canary@a",
        "https://u:canary@[bad",
        "ftp://u:canary@a",
        "http://:canary@a/x?y",
        "http://u:canary@a b",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url):
    with pytest.raises(ConfigError) as caught:
        ServiceConfig("a", url)
    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.args}"


def test_a_key_in_the_query_may_have_the_name_of_a_header():
    assert ApiKeyAuth(Secret("k"), "host", "query").name == "host"


def test_lists_become_tuples_and_whole_numbers_floats():
    config = RuntimeConfig(
        services=[
            ServiceConfig(
                "a",
                fallbacks=[CacheFallback(on=["TIMEOUT"])],
                instances=[InstanceConfig("http://a")],
                retry=RetryPolicy(statuses=[503]),
            )
        ],
        grace=3,
    )
    (service,) = config.services
    assert config.services == (service,)
    assert service.fallbacks == (CacheFallback(on=(ErrorCode.TIMEOUT,)),)
    assert isinstance(service.fallbacks[0].on[0], ErrorCode)
    assert isinstance(service.instances, tuple)
    assert service.retry.statuses == (503,)
    assert isinstance(config.grace, float)
    assert TimeoutConfig(total=5) == TimeoutConfig(total=5.0)


def test_what_the_caller_does_with_his_dict_later_changes_nothing():
    headers, metadata = {"A": "x"}, {"zone": "1"}
    service = ServiceConfig("a", headers=headers, instances=[InstanceConfig("http://a", metadata=metadata)])
    headers["B\r\n"] = "y"
    metadata["zone"] = "2"
    assert service.headers == {"A": "x"}
    assert service.instances[0].metadata == {"zone": "1"}
    assert ServiceConfig("a").headers is not ServiceConfig("b").headers


def test_they_are_frozen_and_can_be_copied_and_pickled():
    config = RuntimeConfig([ServiceConfig("a", fallbacks=[DefaultFallback({"x": [1]})])])
    with pytest.raises(AttributeError):
        config.grace = 1.0
    assert copy.deepcopy(config) == config == pickle.loads(pickle.dumps(config))
    assert msgspec.structs.replace(config, grace=1).grace == 1.0
    with pytest.raises(ConfigError, match="grace"):
        msgspec.structs.replace(config, grace=-1)


def loop(*leads):
    return [
        ServiceConfig(f"s{n}", fallbacks=[AlternativeFallback(f"s{to}") for to in tos]) for n, tos in enumerate(leads)
    ]


def test_alternatives_that_lead_nowhere_or_in_a_circle():
    with pytest.raises(ConfigError, match=r"services\[0\].fallbacks: the alternative 's9' is no service; known: s0"):
        RuntimeConfig(loop([9]))
    with pytest.raises(ConfigError, match=r"services\[0\].fallbacks: the alternatives lead back to 's0'"):
        RuntimeConfig(loop([0]))
    with pytest.raises(ConfigError) as caught:
        RuntimeConfig(loop([1], [2], [1], []))
    assert [line[:11] for line in str(caught.value).splitlines()] == ["services[1]", "services[2]"]
    assert RuntimeConfig(loop([1, 2], [3], [3], []))


def test_a_chain_of_alternatives_may_be_longer_than_the_stack():
    chain = loop(*([n + 1] for n in range(1500)), [])
    assert len(RuntimeConfig(chain).services) == 1501


def test_all_alternatives_of_some_services_can_be_asked_about():
    assert alternatives(loop([1], [])) == []
    assert alternatives(loop([1])) == ["services[0].fallbacks: the alternative 's1' is no service; known: s0"]


def test_single_values_can_be_checked_as_those_of_records_are():
    check.finite("weight", 0)
    check.url("endpoint", "http://a")
    for value in (-1, math.nan, True, "1"):
        with pytest.raises(ConfigError, match=r"^weight: must be"):
            check.finite("weight", value)
    with pytest.raises(ConfigError, match=r"^endpoint: must start with"):
        check.url("endpoint", "a")


def test_the_public_names_are_the_same():
    assert sg.RuntimeConfig is RuntimeConfig
