"""How Sphinx builds the documents: `sphinx-build -W --keep-going -n docs docs/_build`, with Switchgear installed."""

from __future__ import annotations

import inspect
import sys
import typing
from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import msgspec
from sphinx.util.inspect import stringify_signature

from switchgear.actors.config.record import Record

project = "Switchgear"
author = "The Switchgear founders"
copyright = "2026, The Switchgear founders"  # noqa: A001 - Sphinx wants this name
release = version = version_of("switchgear")

sys.path.insert(0, str(Path(__file__).parent))
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib_trio", "transitions"]
html_theme = "furo"
html_title = f"Switchgear {release}"
exclude_patterns = ["_build"]

# A name in single backquotes in a docstring becomes a link where it is documented, and code where it is not.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {
    "members": True,
    "exclude-members": "cross_check, told",
}  # public only to other modules of ours
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True

# Links to other projects would need their inventories from the network, which a build does not have; so only names of
# our own must resolve. Of type variables and the private modules of others nobody expects a page.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:obj", r".*"),
    (r"py:.*", r"^(?!switchgear\b).*"),
    (r"py:class", r".*\bT"),
    (r"py:class", r".*\bAnnotated\[.*"),  # a type with its check: no name, but taken for one
]

PUBLIC = ("switchgear", "switchgear.runtime", "switchgear.events")


def public_name(target: str) -> str | None:
    """Where something is documented that is defined in a private module: the package that exports it."""
    name = target.rpartition(".")[2]
    for package in PUBLIC:
        thing = getattr(import_module(package), name, None)
        if thing is not None and getattr(thing, "__module__", "").startswith("switchgear"):
            return f"{package}.{name}"
    return None


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Let a reference to ``switchgear.runtime.policy.Backoff`` go to ``switchgear.runtime.Backoff``."""
    if node.get("refdomain") != "py":
        return None
    target = public_name(node.get("reftarget", ""))
    if target is None or target == node.get("reftarget"):
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node.get("refdoc"), app.builder, "obj", target, node, content)


def plain_attributes(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep napoleon, which looks at the first line, from reading "At worst: five" as something of type "At worst"."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment, and so invisible


def without_checks(app: Any) -> None:
    """Take the checks out of the types of configurations: they are functions, and would be shown by their addresses."""
    todo = Record.__subclasses__()
    while todo:
        struct = todo.pop()
        todo += struct.__subclasses__()
        hints = typing.get_type_hints(struct)
        struct.__annotations__.update({name: hints[name] for name in struct.__annotations__})


class Short:
    """A default that is a record: of its fields only those that are not as they are without being said."""

    def __init__(self, record: Record) -> None:
        said = [
            f"{one.name}={getattr(record, one.name)!r}"
            for one in msgspec.structs.fields(record)
            if getattr(record, one.name) != one.default
        ]
        self._text = f"{type(record).__name__}({', '.join(said)})"

    def __repr__(self) -> str:
        return self._text


def short_defaults(app: Any, what: str, name: str, thing: Any, options: Any, signature: str, returns: str) -> Any:
    """Show ``RetryPolicy()`` for a default that is just that, and not all of its fields."""
    if not (what == "class" and issubclass(thing, Record)):
        return None
    full = inspect.signature(thing)
    parameters = [
        one.replace(default=Short(one.default)) if isinstance(one.default, Record) else one
        for one in full.parameters.values()
    ]
    return stringify_signature(full.replace(parameters=parameters), unqualified_typehints=True), returns


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", without_checks)
    app.connect("autodoc-process-signature", short_defaults)
    app.connect("autodoc-process-docstring", plain_attributes, priority=1)  # before napoleon's
    app.connect("missing-reference", resolve)
