"""Compares the requirements in pyproject.toml with the imports and with constraints.txt."""

import ast
import re
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.packaging.project import CORE, EXTRAS, PROJECT
from tests.processes import ROOT

# Distributions whose name differs from the name of their module.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "google": "protobuf",
    "haiku": "dm-haiku",
    "orbax": "orbax-checkpoint",
    "sklearn": "scikit-learn",
    "tensorflow": "tensorflow-cpu",
    "tree": "dm-tree",
    "yaml": "pyyaml",
}
PYTHONS = ["3.11", "3.12", "3.13"]
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}
# Folders of perceiver/ whose modules may import the packages of the extra train.
NEED_TRAIN = ("perceiver/data/", "perceiver/training/logging/")


def names(requirements):
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def imports(node, inside_function=False):
    """Yields (top-level module, True if it is imported only when a function runs)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name.split(".")[0], inside_function) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and not child.level:
            yield child.module.split(".")[0], inside_function
        in_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield from imports(child, inside_function or in_function)


@pytest.mark.parametrize("package", ["perceiver", "experiments", "configs"])
def test_every_import_is_declared(package):
    core, train = names(CORE), names(CORE + EXTRAS["train"])
    optional = train.union(*map(names, EXTRAS.values()))
    known = {*sys.stdlib_module_names, "perceiver", "experiments", "configs"}
    undeclared = []
    for path in sorted((ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        always = core if package == "perceiver" and not name.startswith(NEED_TRAIN) else train
        for module, inside_function in imports(ast.parse(path.read_text())):
            distribution = canonicalize_name(DISTRIBUTIONS.get(module, module))
            allowed = optional if inside_function else always
            if module not in known and distribution not in allowed:
                undeclared.append(f"{name} imports {module}")
    assert not undeclared


def applicable(lines, **environment):
    """Yields the requirements that apply on this machine, or in the given environment."""
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": "", **environment}):
            yield requirement


def pins(**environment):
    """Returns the version of each name in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = list(applicable((line for line in lines if not line.startswith("#")), **environment))
    versions = {}
    for pin in found:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        versions[canonicalize_name(pin.name)] = specifier.version
    assert len(versions) == len(found), "a name is pinned twice"
    return versions


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_pin_in_its_range(python):
    wanted = CORE + EXTRAS["train"] + EXTRAS["dev"] + EXTRAS["tensorboard"]
    environment = {**LINUX, "python_version": python}
    pinned = pins(**environment)
    for requirement in applicable(wanted, **environment):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def test_dependencies_of_requirements_are_pinned():
    pinned = pins()
    pending = [(requirement, "") for requirement in applicable(CORE + EXTRAS["train"])]
    pending += [(requirement, "") for requirement in applicable(EXTRAS["dev"])]
    visited = set()
    while pending:
        requirement, extra = pending.pop()
        name = canonicalize_name(requirement.name)
        assert name in pinned
        # A version other than the pinned one may have other dependencies.
        if (name, extra) not in visited and metadata.version(name) == pinned[name]:
            visited.add((name, extra))
            for needed in applicable(metadata.requires(name) or [], extra=extra):
                pending += [(needed, needed_extra) for needed_extra in ("", *needed.extras)]


def test_jaxlib_and_the_accelerator_extras_have_the_range_of_jax():
    ranges = {
        requirement.name: requirement.specifier
        for requirement in map(Requirement, CORE + EXTRAS["gpu"] + EXTRAS["tpu"])
        if requirement.name in ("jax", "jaxlib")
    }
    assert ranges["jax"] == ranges["jaxlib"]
    for extra in ("gpu", "tpu"):
        (requirement,) = map(Requirement, EXTRAS[extra])
        assert requirement.specifier == ranges["jax"]


def test_tested_pythons_are_the_supported_ones():
    supported = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{n}" for n in range(100) if supported.contains(f"3.{n}")] == PYTHONS
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert re.findall(r"\"(3\.\d+)\"", workflow.partition("steps:")[0]) == PYTHONS
