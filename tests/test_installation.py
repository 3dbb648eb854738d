"""The project as a package: its requirements are pinned, and its client installs on its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import pytest
import uvicorn
import uvloop
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.test_layers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BASE: list[str] = PROJECT["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_DEVELOPMENT = {"dev", "training"}


def names(requirements: Iterable[str]) -> set[str]:
    """Names with their extras and conditions."""
    parsed = [Requirement(text) for text in requirements]
    return {
        f"{canonicalize_name(one.name)}{sorted(one.extras)}{one.marker or ''}" for one in parsed
    }


def pinned(file: str) -> list[str]:
    lines = (
        line.partition("#")[0].strip() for line in (ROOT / file).read_text("utf-8").split("\n")
    )
    return [line for line in lines if line and not line.startswith("-r")]


def test_each_requirement_is_pinned_and_each_pin_is_required() -> None:
    running = [*BASE, *(one for extra in EXTRAS.keys() - FOR_DEVELOPMENT for one in EXTRAS[extra])]
    assert names(pinned("requirements.txt")) == names(running)
    developing = (one for extra in FOR_DEVELOPMENT for one in EXTRAS[extra])
    assert names(pinned("requirements-dev.txt")) == names(developing)
    for line in (*pinned("requirements.txt"), *pinned("requirements-dev.txt")):
        assert [clause.operator for clause in Requirement(line).specifier] == ["=="], line


def closure(requirements: Iterable[str]) -> set[str]:
    """The names of the distributions that these requirements bring here."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        found.add(name)
        needs = [Requirement(text) for text in distribution(name).requires or ()]
        waiting += [
            one for one in needs if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
    return found


def link(name: str, packages: Path) -> None:
    """Put an installed distribution into another environment, by links to its files."""
    installed = distribution(name)
    for top in {Path(file).parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
        (packages / top).symlink_to(str(installed.locate_file(top)))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project built as `pip install .` builds it, from what a checkout has."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    source.mkdir()
    for path in (*ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "README.md"):
        shutil.copy(path, source)
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "product_search", source / "product_search", ignore=unwanted)
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source)
    return next(folder.glob("*.whl"))


def pip(python: str | Path, command: str, *arguments: str | Path) -> None:
    called = [sys.executable, "-m", "pip", "--python", python, command]
    subprocess.run([*called, "--no-index", "--quiet", *arguments], check=True)


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the project, what its base dependencies bring, and nothing else."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment)
    executable = environment / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([executable, "-c", asked], text=True).strip())
    for name in closure(BASE):
        link(name, packages)
    pip(executable, "install", wheel)
    return executable


def run(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    """In a folder without the project."""
    return subprocess.run(
        [python, "-I", "-c", code], cwd=python.parent, capture_output=True, text=True
    )


def test_the_client_is_installed_without_what_the_service_needs(python: Path) -> None:
    imported = run(python, "import product_search.client as client; print(client.__file__)")
    assert imported.returncode == 0, imported.stderr
    assert Path(imported.stdout.strip()).is_relative_to(python.parent.parent)
    for heavy in ("torch", "numpy", "fastapi", "sqlalchemy", "pydantic_settings", "PIL"):
        assert "ModuleNotFoundError" in run(python, f"import {heavy}").stderr


def test_every_file_of_the_packages_is_installed(python: Path) -> None:
    asked = "import product_search as package; print(package.__path__[0])"
    installed = Path(run(python, asked).stdout.strip())

    def files(folder: Path) -> set[str]:
        return {
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    assert files(installed) == files(ROOT / "product_search")
    for name in ROOT.glob("*.py"):
        assert (installed.parent / name.name).is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
def test_fastapi_run_serves_by_httptools_on_uvloop() -> None:
    # As `fastapi run` configures it, which chooses neither.
    config = uvicorn.Config("main:app", log_config=None)
    config.load()
    assert config.http_protocol_class is HttpToolsProtocol
    factory = config.get_loop_factory()
    assert factory is not None
    loop = factory()
    loop.close()
    assert isinstance(loop, uvloop.Loop)
