"""The rules of the house that a machine can check."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for path in ROOT.glob("*/*/src/**/*.py") if not path.parent.name.startswith("v")]
BANNED_MODULES = {"utils", "util", "common", "core", "helpers", "helper", "misc", "base"}
BANNED_CLASSES = re.compile(r"^Base[A-Z]|Manager$|Helper$")
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 300


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(ROOT.glob("services/*/src/*/__main__.py")), ids=lambda path: path.parent.name)
def test_an_entry_point_has_at_most_ten_lines(path: Path):
    """A `__main__` runs the chassis, nothing else."""
    assert len(path.read_text().splitlines()) <= 10


def test_no_module_is_named_after_nothing():
    """A name says what is inside."""
    assert not [path for path in SOURCES if path.stem in BANNED_MODULES]


def test_no_class_is_named_after_nothing():
    """No Base*, *Manager, *Helper."""
    named = [node.name for path in SOURCES for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    assert not [name for name in named if BANNED_CLASSES.search(name)]


def test_functions_fit_on_a_page():
    """None passes 70 lines, and half of them have at most 10. A revision of a schema is a list of tables, not logic."""
    functions = [
        (node.end_lineno - node.lineno + 1, f"{path.relative_to(ROOT)}:{node.name}")
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and path.parent.name != "migrations"
    ]
    assert not [one for one in functions if one[0] > FUNCTION_LINES_MAX]
    assert sorted(functions)[len(functions) // 2][0] <= 10


def test_files_stay_readable():
    """A file becomes a package before it gets long."""
    assert not [path for path in SOURCES if len(path.read_text().splitlines()) > FILE_LINES_MAX]


def test_every_library_has_two_users():
    """A library exists when two members use it; the SDK is for applications, the testkit for tests."""
    members = {path.parent.name: path.read_text() for path in ROOT.glob("*/*/pyproject.toml")}
    for library in (path.name for path in ROOT.glob("libs/*") if path.name not in ("client", "testkit")):
        users = [name for name, text in members.items() if name != library and f'"headrace-{library}' in text]
        assert len(users) >= 2, f"{library} is used by {users}"


def test_every_module_says_what_it_is_for():
    """A module begins with its purpose."""
    assert not [path for path in SOURCES if not ast.get_docstring(tree_of(path)) and path.read_text().strip()]
