"""Functions as settings: themselves in code, by name in a file."""

from __future__ import annotations

import json
import sys

import pytest

import switchgear as sg


def reduced(error, call):
    return error, call


class Holder:
    answer = staticmethod(reduced)
    number = 3


def loaded(tmp_path, name):
    path = tmp_path / "config.json"
    fallback = {"type": "degrade", "function": name}
    path.write_text(json.dumps({"services": [{"name": "svc", "base_url": "http://x", "fallbacks": [fallback]}]}))
    return sg.load_config(path).services[0].fallbacks[0].function


def test_by_name_it_is_the_same_as_itself(tmp_path) -> None:
    assert sg.DegradeFallback(reduced).function is reduced
    assert loaded(tmp_path, f"{__name__}:reduced") is reduced
    assert loaded(tmp_path, f"{__name__}:Holder.answer") is reduced
    assert sg.DegradeFallback(f"{__name__}:reduced") == sg.DegradeFallback(reduced)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reduced", 'must be a function, or the name of one as "package.module:name"'),
        (3, "must be a function"),
        ("no.such.module:f", "the module 'no.such.module' cannot be imported: No module named"),
        (f"{__name__}:nothing", "there is no 'nothing' in the module"),
        (f"{__name__}:Holder.number", "is no function"),
        ("a module:f", "must be a function"),
        ("bad_module_of_a_user:f", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_name_that_leads_nowhere_is_a_fault_of_the_file(tmp_path, monkeypatch, name, reason) -> None:
    (tmp_path / "bad_module_of_a_user.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(sg.ConfigError) as caught:
        loaded(tmp_path, name)
    assert "services[0].fallbacks[0].function" in str(caught.value)
    assert reason in str(caught.value)
    sys.modules.pop("bad_module_of_a_user", None)
