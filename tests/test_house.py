"""The house around the code: what pyproject.toml, the README and the folders say of each other."""

import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import switchgear

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PYPROJECT["project"]["version"]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def packages_on_disk():
    for package, folder in PYPROJECT["tool"]["setuptools"]["package-dir"].items():
        for init in (ROOT / folder).rglob("__init__.py"):
            yield ".".join([package, *init.parent.relative_to(ROOT / folder).parts])


def test_every_folder_with_code_is_a_package_that_gets_installed():
    listed = PYPROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(packages_on_disk())


@pytest.mark.parametrize("folder", ["api", "actors", "runtime"])
def test_no_module_lies_in_a_folder_that_is_no_package(folder):
    homeless = [path for path in (ROOT / folder).rglob("*.py") if not (path.parent / "__init__.py").exists()]
    assert homeless == []


def test_no_folder_of_the_checkout_shadows_the_installed_package():
    assert not (ROOT / "switchgear").exists()


def test_the_readme_has_the_two_commands():
    demo, tests = blocks("sh")
    assert demo.split(" && ") == [
        "python3 -m venv .venv",
        ".venv/bin/pip install '.[demo]'",
        ".venv/bin/switchgear demo\n",
    ]
    assert tests.split(" && ") == ["python3 -m venv .venv", ".venv/bin/pip install '.[test]'", ".venv/bin/pytest\n"]


def test_the_readme_example_is_short_and_runs():
    (example,) = blocks("python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 20
    program = [sys.executable, "-W", "error", "-c", example]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    expected = re.findall(r"print\(.*\)  # (.*)", example)
    assert (done.returncode, done.stdout.splitlines()) == (0, expected), done.stderr


def test_there_is_one_version():
    assert importlib.metadata.version("switchgear") == VERSION
    assert switchgear.__version__ == VERSION
    assert f"## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text()


def test_each_ignored_rule_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text()
    rules = re.findall(r'^ *"[A-Z]+[0-9]*",(.*)$', text, flags=re.MULTILINE)
    assert rules
    assert all(re.fullmatch(r" *# .+", reason) for reason in rules)


def test_extras_that_others_are_made_of_exist():
    extras = PYPROJECT["project"]["optional-dependencies"]
    named = {
        name
        for requirements in extras.values()
        for requirement in requirements
        for match in [re.fullmatch(r"switchgear\[(.+)\]", requirement)]
        if match
        for name in match[1].split(",")
    }
    assert named <= set(extras)


def test_each_row_of_what_happens_when_has_its_test():
    table = (ROOT / "docs" / "composition.rst").read_text().partition("What happens when")[2]
    rows = [row for row in table.split("\n   * - ")[1:] if not row.startswith("**")]
    assert len(rows) > 40
    for row in rows:
        file, name = re.search(r"\n     - ``(\w+)::(test_\w+)``", row).groups()
        files = (ROOT / "tests").glob(f"*/test_{file}.py")
        assert any(f"def {name}(" in one.read_text() for one in files), row


def test_each_threat_has_its_test():
    table = (
        (ROOT / "docs" / "security.rst").read_text().partition("Threats\n-------")[2].partition("How secrets stay")[0]
    )
    rows = [row for row in table.split("\n   * - ")[1:] if not row.startswith("**")]
    assert len(rows) > 30
    for row in rows:
        folder, file, name = re.search(r"\n     - ``(\w+)/(\w+)::(test_\w+)``", row).groups()
        assert f"def {name}(" in (ROOT / "tests" / folder / f"test_{file}.py").read_text(), row


def test_what_security_md_says_of_versions_is_so():
    told = dict(re.findall(r"(h\w+) ([0-9.]+)\s\(CVE", (ROOT / "SECURITY.md").read_text()))
    asked = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"]["http2"]]
    assert told
    for package, version in told.items():
        assert any(re.match(rf"{package}>={re.escape(version)}\b", one) for one in asked)


def test_every_public_name_is_in_the_reference():
    pages = "".join((ROOT / "docs" / page).read_text() for page in ("reference.rst", "kernel.rst"))
    described = set(re.findall(r"^\.\. auto(?:class|exception|function):: (\w+)", pages, flags=re.MULTILINE))
    public = {
        name for name in vars(switchgear) if not name.startswith("_") and not inspect.ismodule(vars(switchgear)[name])
    }
    assert public - described == set()


def test_the_tutorial_has_every_extra_for_users():
    extras = set(PYPROJECT["project"]["optional-dependencies"]) - {"test", "bench", "docs", "dev"}
    listed = re.findall(r"^``(\w+)``  +\S", (ROOT / "docs" / "tutorial.rst").read_text(), flags=re.MULTILINE)
    assert set(listed) == extras


@pytest.mark.parametrize("page", ["composition", "security"])
def test_every_test_that_a_page_names_is_there(page):
    named = re.findall(r"``([\w/]+)::(test_\w+)``", (ROOT / "docs" / f"{page}.rst").read_text())
    assert named
    for path, name in named:
        folder, _, module = path.rpartition("/")
        texts = [file.read_text() for file in (ROOT / "tests").glob(f"{folder or '**'}/test_{module}.py")]
        assert any(f"def {name}(" in text for text in texts), f"{path}::{name}"
