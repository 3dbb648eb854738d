"""What a run was made on: machine and versions, without names or paths."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "onnxruntime",
    "torch",
    "transformers",
    "pymilvus",
    "milvus-lite",
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "pydantic",
    "SQLAlchemy",
    "numpy",
)
_TELLING_FLAGS = ("avx2", "avx512_vnni", "avx512_bf16", "amx_int8")


def describe() -> dict[str, Any]:
    """Return the machine and the versions of what serves."""
    return {
        "cpu": _cpu("model name"),
        "cores": os.cpu_count(),
        "flags": [flag for flag in _TELLING_FLAGS if flag in _cpu("flags").split()],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _cpu(key: str) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
