"""The command line, as a user meets it: run as a program."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

import switchgear
from switchgear.cli import main

GOOD = """
[[services]]
name = "payments"
base_url = "https://pay.example"
auth = { type = "bearer", token = { env = "PAY_TOKEN" } }

[[services]]
name = "search"
base_url = "http://127.0.0.1:9"
"""

BAD = """
[[services]]
name = "payments"
base_url = "https://pay.example"
[services.breaker]
failure_treshold = 3
[services.retry]
max_attempts = 0

[metrics]
interval = "often"
"""


def switchgear_command(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "switchgear", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def file(tmp_path):
    def write(text, name="services.toml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"switchgear {switchgear.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["check"], "FILE"),
        (["demo", "--seconds", "0"], "invalid number of seconds value: '0'"),
        (["demo", "--seconds", "nan"], "invalid number of seconds value: 'nan'"),
        (["demo", "--seconds", "soon"], "invalid number of seconds value: 'soon'"),
        (["demo", "--seed", "x"], "--seed"),
    ],
)
def test_wrong_usage_is_explained(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


def test_check_of_a_good_file(file, capsys, monkeypatch):
    monkeypatch.setenv("PAY_TOKEN", "hush-hush")
    path = file(GOOD)
    assert main(["check", path]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"{path}: no faults; 2 services: payments, search\n", "")


def test_check_reports_every_fault_with_file_key_and_reason(file, capsys):
    path = file(BAD)
    assert main(["check", path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    *faults, last = err.splitlines()
    assert last == f"{path}: 3 faults"
    assert all(path in fault for fault in faults)
    for key, reason in [
        ("services[0].breaker.failure_treshold", "failure_threshold"),
        ("services[0].retry.max_attempts", "at least 1"),
        ("metrics.interval", "finite number"),
    ]:
        assert any(key in fault and reason in fault for fault in faults), (key, err)


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("services.toml", "[[services"),
        ("services.json", '{"services": '),
        ("services.yaml", ""),
        ("services.toml", BAD),
    ],
)
def test_what_cannot_be_used_is_explained_without_a_traceback(command, name, text, file, capsys):
    path = file(text, name)
    assert main([command, path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert path in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_file_that_is_not_there(command, tmp_path, capsys):
    path = str(tmp_path / "none.toml")
    assert main([command, path]) == 2
    assert path in capsys.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_run_tells_its_address_and_stops_gracefully(how, file):
    path = file(json.dumps({"services": [{"name": "idle", "base_url": "http://127.0.0.1:9"}]}), "services.json")
    with switchgear_command("run", path) as process:
        assert process.stdout.readline().startswith("metrics stream: ws://127.0.0.1:")
        process.send_signal(how)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "stopping\n"), err
    assert "Traceback" not in err


def test_run_on_a_port_that_is_taken(file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = file(f"[metrics]\nport = {taken.getsockname()[1]}\n")
        with switchgear_command("run", path) as process:
            out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")
    assert err.splitlines()[-1].startswith("metrics.port: ")
    assert os.strerror(errno.EADDRINUSE) in err.splitlines()[-1]


def test_a_reader_that_has_enough_is_no_error(file):
    with switchgear_command("check", file('[[services]]\nname = "a"\nbase_url = "http://127.0.0.1:9"\n')) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=20) in {0, 1}
