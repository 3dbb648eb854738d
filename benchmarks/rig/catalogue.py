"""The catalogue that is searched: made-up products, imported by the service's own command."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rig import pictures, words
from benchmarks.rig.folders import kept
from product_search.settings import ROOT

SEED = 17
PICTURES = 300  # distinct ones
WITH_PICTURE = 3  # of ten products
_COLUMNS = ("sku", "title", "description", "category", "brand", "price", "attributes", "image_path")
_FINGERPRINT = (
    "from product_search.bootstrap.encoders import EncoderLoader;"
    "from product_search.settings import Settings;"
    "print(EncoderLoader(Settings(_env_file=None)).load_chosen().fingerprint)"
)


@dataclass(frozen=True)
class Checkout:
    """A checkout of the project: this one, or an earlier one that it is compared with."""

    root: Path = ROOT

    def environment(self, data: Path) -> dict[str, str]:
        """Return the environment of a process of this checkout on a data folder."""
        return os.environ | {
            "PYTHONPATH": str(self.root),
            "PRODUCT_SEARCH_DATA_DIR": str(data),
            "PRODUCT_SEARCH_ENCODER": "starter",
            "PRODUCT_SEARCH_DEVICE": "cpu",
        }

    def run(self, data: Path, *arguments: str) -> str:
        """Run Python with these arguments to its end, and return what it printed."""
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command,
            env=self.environment(data),
            cwd=data,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)[:80]}: {done.stderr[-2000:]}")
        return done.stdout

    def fingerprint(self, data: Path) -> str:
        """Return the fingerprint of the encoders that this checkout imports with."""
        return self.run(data, "-c", _FINGERPRINT).strip()


def earlier(commit: str) -> Checkout:
    """Return a checkout of an earlier commit, made now or in an earlier run.

    Raises:
        CalledProcessError: this is no clone that has the commit.
    """

    def make(folder: Path) -> None:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit], check=True, stdout=subprocess.PIPE
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")

    return Checkout(kept("before", commit, make))


_TERMS = "product_search/text/*.py"


def imported(checkout: Checkout, count: int) -> Path:
    """Return a data folder with so many products, imported now or in an earlier run."""
    code = "".join(Path(module.__file__ or "").read_text() for module in (words, pictures))
    made_from = [
        code,
        words.VOCABULARY.read_text("utf-8"),
        str((SEED, PICTURES, WITH_PICTURE, count)),
    ]
    made_from += [str(checkout.root.resolve()), checkout.fingerprint(ROOT)]
    # Products have the terms of the checkout: those of another would be indexed anew meanwhile.
    made_from += [path.read_text("utf-8") for path in sorted(checkout.root.glob(_TERMS))]

    def make(folder: Path) -> None:
        import_products(checkout, folder, count)

    return kept(f"catalogue-{count}", "".join(made_from), make)


@dataclass(frozen=True)
class Import:
    """What an import took: seconds, and the most memory of its process in MB."""

    seconds: float
    peak_mb: float


def import_products(checkout: Checkout, data: Path, count: int) -> Import:
    """Import so many products into an empty data folder, and index them."""
    files = data / "files"
    write_file(files, count)
    begun = time.perf_counter()
    checkout.run(data, "-m", "product_search.manage", "import", str(files / "products.csv"))
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return Import(seconds, peak)


def write_file(folder: Path, count: int) -> None:
    """Write the import file, products.csv, and its pictures into the folder."""
    (folder / "pictures").mkdir(parents=True)
    for number, content in enumerate(pictures.pictures(SEED, PICTURES)):
        (folder / "pictures" / f"{number}.jpg").write_bytes(content)
    with (folder / "products.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _COLUMNS)
        writer.writeheader()
        for number, product in enumerate(words.products(SEED, count)):
            writer.writerow(_row(number, product))


def _row(number: int, product: dict[str, Any]) -> dict[str, str]:
    is_shown = number % 10 < WITH_PICTURE
    path = f"pictures/{number % PICTURES}.jpg" if is_shown else ""
    attributes = json.dumps(product["attributes"], ensure_ascii=False)
    return product | {"attributes": attributes, "image_path": path}
