"""What is installed is what is needed: nothing works only because some other package happened to bring it along."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from harness.shipped import shipped

ROOT = Path(__file__).parents[1]
PARTS = {"pydantic-core": "pydantic"}
"""Packages that belong to another, which asks for the very version that it goes with."""


def imported(file: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"harness", "suites", "tests", "benchmarks"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("folder", ["harness", "suites"])
def test_every_imported_package_is_a_named_dependency(folder: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {normal(re.split(r"[<>=! ]", wish)[0]) for wish in project["dependencies"]}
    provider = packages_distributions()
    # worker.py runs in the guest, with what the guest has
    files = [file for file in (ROOT / folder).rglob("*.py") if file.name != "worker.py"]
    assert files
    for file in files:
        for package in imported(file):
            providers = {PARTS.get(normal(name), normal(name)) for name in provider.get(package, [])}
            assert providers & named, f"{file.relative_to(ROOT)} imports {package}, which pyproject.toml does not name"


def test_what_comes_beside_the_code_is_in_the_package() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    asked = {
        name
        for file in (ROOT / "harness").rglob("*.py")
        for name in re.findall(r'shipped\("(.+?)"\)', file.read_text())
    }
    assert {"profiles", "requirements", "suites", "known_issues.yaml"} <= asked
    for name in asked:
        assert wheel["force-include"][name] == f"harness/_data/{name}"
        assert shipped(name) == ROOT / name
