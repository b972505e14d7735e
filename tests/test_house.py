"""The layout: who imports whom, and what stays out of the library."""

import ast
import importlib
import re
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import click
import pytest

import oatools
from oatools.core.cli import option_names

PACKAGE = Path(oatools.__file__).resolve().parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
# From the ground up: a room imports from those before it alone.
ROOMS = [
    "version",
    "core",
    "imaging",
    "phantom",
    "dicom",
    "n4",
    "features",
    "learning",
    "survival",
    "oai",
    "explain",
    "report",
    "scored",
    "reading",
    "trial",
    "validation",
    "viewing",
    "checking",
    "commands",
]


def imported(path):
    """The modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("oatools"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("oatools")}
    return found


def room(module):
    return module.split(".")[1]


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"oatools"}))
def test_rooms_import_from_those_below_them_alone(module):
    below = ROOMS[: ROOMS.index(room(module)) + 1]
    assert [name for name in imported(MODULES[module]) if room(name) not in below] == []


def test_no_module_imports_in_a_circle():
    graph = {module: imported(path) for module, path in MODULES.items() if module != "oatools"}
    assert list(TopologicalSorter(graph).static_order())  # raises a CycleError that names them


def library_texts():
    """Every string that is no docstring, outside the commands and their frame."""
    for module, path in MODULES.items():
        if room(f"{module}.") == "commands" or module in (
            "oatools.core.cli",
            "oatools.core.options",
        ):
            continue
        tree = ast.parse(path.read_text())
        docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in docstrings:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node.value


def test_messages_of_the_library_name_no_option_of_a_command():
    """A command puts its own options in the place of parameter names, see `core.errors`."""
    # The record of a call, help, and an option of a program that is started.
    allowed = r"oa-orient --reference|oa-embed --augment|--pdeathsig"
    named = []
    for place, text in library_texts():
        if re.search(r"--[a-z]|\s-[a-z]\b", re.sub(allowed, "", text)):
            named.append((place, text))
    assert named == []


def parameters_of_commands():
    found = set()
    for entry in metadata.entry_points(group="console_scripts"):
        if entry.value.startswith("oatools."):
            name = entry.name.removeprefix("oa-")
            command = importlib.import_module(f"oatools.commands.{name}").main
            parts = command.commands.values() if isinstance(command, click.Group) else [command]
            found |= {name for part in parts for name in option_names(part)}
    return found


def test_what_a_remedy_calls_a_parameter_is_an_option_of_some_command():
    """Otherwise a person at a terminal reads a bare name that they cannot type."""
    named = set()
    for _, text in library_texts():
        named |= set(re.findall(r"`(\w+)`", text))
    assert len(named) > 20
    assert named - parameters_of_commands() == set()
