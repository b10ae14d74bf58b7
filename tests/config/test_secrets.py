"""A canary goes through everything that could show it."""

import copy
import json
import os
import pickle
import pprint
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.config import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    RuntimeConfig,
    Secret,
    ServiceConfig,
    check_config,
    load_config,
)
from switchgear.actors.errors import ConfigError

CANARY = "sk-Canary-4711"


def bearer(reference):
    return {"services": [{"name": "a", "auth": {"type": "bearer", "token": reference}}]}


def shown(value):
    """All the ways in which a value is made text."""
    texts = [repr(value), str(value), f"{value}", f"{value!r:>40}", "%s" % value, pprint.pformat(value)]  # noqa: UP031
    for dump in (pickle.dumps, msgspec.json.encode, msgspec.msgpack.encode, json.dumps):
        try:
            texts.append(repr(dump(value)))
        except TypeError as error:
            texts += traceback.format_exception(error)
    return "".join(texts)


def test_it_masks_itself():
    secret = Secret(CANARY)
    assert (repr(secret), str(secret), f"{secret:>9}") == ("Secret('***')", "***", "***")
    assert "Canary" not in shown(secret)
    assert "Canary" not in shown([secret, {"x": secret}])
    assert secret.reveal() == CANARY
    for dump in (pickle.dumps, Secret.__reduce__, Secret.__getstate__):
        with pytest.raises(TypeError, match="cannot be pickled"):
            dump(secret)


@pytest.mark.parametrize("dump", [msgspec.json.encode, msgspec.to_builtins, json.dumps])  # the second for TOML
@pytest.mark.parametrize("value", [Secret(CANARY), {"token": Secret(CANARY)}, BearerAuth(Secret(CANARY))])
def test_what_writes_files_refuses_it(dump, value):
    with pytest.raises(TypeError) as caught:
        dump(value)
    assert "Canary" not in "".join(traceback.format_exception(caught.value))
    assert "Canary" not in json.dumps({"token": Secret(CANARY)}, default=str)  # who asks for a text gets the mask


@pytest.mark.parametrize(
    "auth", [ApiKeyAuth(Secret(CANARY)), BearerAuth(Secret(CANARY)), BasicAuth("user", Secret(CANARY))]
)
def test_a_configuration_does_not_show_it(auth):
    config = RuntimeConfig([ServiceConfig("a", auth=auth, headers={"X-Token": CANARY})])
    assert CANARY not in repr(config) + str(config) + repr(config.services[0]) + pprint.pformat(config)
    assert CANARY not in str(list(config.services[0].__rich_repr__()))
    assert CANARY not in shown(auth)
    assert copy.deepcopy(config) == config
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(config)


def test_equal_secrets_are_equal():
    assert Secret("a") == Secret("a") != Secret("b")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != "a"
    assert copy.copy(Secret("a")) == Secret("a")
    assert Secret("ä\udcff") == Secret("ä\udcff")


@pytest.mark.parametrize("value", [None, b"x", 5, ["x"]])
def test_a_secret_is_text(value):
    with pytest.raises(ConfigError, match="a Secret is text, not a"):
        Secret(value)


def test_by_environment(monkeypatch):
    monkeypatch.setenv("TOKEN_OF_A", CANARY)
    config = load_config(bearer({"env": "TOKEN_OF_A"}))
    assert config.services[0].auth.token.reveal() == CANARY
    assert CANARY not in repr(config)


def test_as_it_is_among_dicts_in_code():
    assert load_config(bearer(Secret(CANARY))).services[0].auth == BearerAuth(Secret(CANARY))


def test_by_file_next_to_the_configuration(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_bytes(f"\ufeff{CANARY}\r\n".encode())
    path = tmp_path / "a.json"
    path.write_text(json.dumps(bearer({"file": "secrets/token"})))
    assert load_config(path).services[0].auth.token.reveal() == CANARY
    assert load_config(bearer({"file": f"{tmp_path}/secrets/token"})).services[0].auth.token == Secret(CANARY)


@pytest.mark.parametrize("value", [None, "", " \t", b"\xff"])
def test_a_variable_that_is_not_there(monkeypatch, value):
    monkeypatch.delenv("TOKEN_OF_A", raising=False)
    if value is not None:
        monkeypatch.setitem(os.environ, "TOKEN_OF_A", os.fsdecode(value))
    (fault,) = check_config(bearer({"env": "TOKEN_OF_A"}))
    assert fault.key == "services[0].auth.token"
    assert "TOKEN_OF_A is not set" in fault.reason or "Latin-1" in fault.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "FileNotFoundError"), (b"", "is empty"), (b" \n", "is empty"), (b"\xff\xfe", "UnicodeDecodeError")],
)
def test_a_file_that_is_not_there(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    (fault,) = check_config(bearer({"file": f"{tmp_path}/token"}))
    assert (fault.key, fault.reason.endswith(reason)) == ("services[0].auth.token", True)


LEAKS = [
    CANARY,
    [CANARY],
    {"env": CANARY},
    {"file": CANARY},
    {"file": f"/no/{CANARY}"},
    {"env": f"{CANARY}\0"},
    {"env": f"{CANARY}\ud800"},
    {"file": f"{CANARY}\ud800"},
    {"file": f"{CANARY}\0"},
    {"env": [CANARY]},
    {"file": {"x": CANARY}},
    {"value": CANARY},
    {"env": CANARY, "file": CANARY},
    {},
    None,
    5,
]


@pytest.mark.parametrize("reference", LEAKS, ids=repr)
def test_what_is_no_reference_is_refused_and_not_repeated(reference):
    (fault,) = check_config(bearer(reference))
    assert fault.key == "services[0].auth.token"
    assert "Canary" not in str(fault)
    with pytest.raises(ConfigError) as caught:
        load_config(bearer(reference))
    assert "Canary" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


@pytest.mark.parametrize("bad", ["\r\nX: y", "\n\n", "\0", "€"])
@pytest.mark.parametrize("source", ["env", "file"])
def test_one_that_cannot_be_sent_is_refused_and_not_repeated(tmp_path, monkeypatch, source, bad):
    (tmp_path / "token").write_text(f"{CANARY}{bad}x", encoding="utf-8")
    monkeypatch.setitem(os.environ, "TOKEN_OF_A", f"{CANARY}{bad}x") if "\0" not in bad else None
    if source == "env" and "\0" in bad:
        return
    reference = {"file": f"{tmp_path}/token"} if source == "file" else {"env": "TOKEN_OF_A"}
    (fault,) = check_config(bearer(reference))
    assert fault.key == "services[0].auth.token"
    assert "Canary" not in str(fault)


@given(
    st.recursive(
        st.sampled_from([CANARY, 1]),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.sampled_from(["env", "file", "x", "type"]), inner)),
    )
)
def test_wherever_it_is_put_by_mistake_in_place_of_credentials(junk):
    """In a table for credentials nothing is repeated but the kind that somebody asked for."""
    config = {"services": [{"name": "a", "auth": {"type": "basic", "username": "u", "password": junk}}]}
    assert check_config(config)
    assert "Canary" not in "".join(map(str, check_config(config)))
