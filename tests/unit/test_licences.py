"""The licences of what is installed: listed, and allowed; the bill of materials."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from deploy import licences, sbom
from product_search.settings import ROOT


def test_every_package_is_listed() -> None:
    text = licences.DOCUMENT.read_text("utf-8")
    for names in licences.packages():
        assert [name for name in names if f"\n| {name} | " not in text] == [], "make licences"


def test_every_licence_is_allowed() -> None:
    for names in licences.packages():
        refused = [name for name in names if not licences.is_allowed(name)]
        assert {name: licences.licence(name) for name in refused} == {}


def test_what_the_service_needs_is_found() -> None:
    service, development = licences.packages()
    assert {"fastapi", "starlette", "uvloop", "pillow-jxl-plugin", "milvus-lite"} <= set(service)
    assert {"pytest", "ruff", "mypy"} <= set(development)


def test_an_exception_is_one_and_is_explained() -> None:
    text = licences.DOCUMENT.read_text("utf-8")
    for name, reason in licences.EXCEPTIONS.items():
        assert f"**{name}**, {reason}" in text
    shipped = [name for name in licences.packages()[0] if name in licences.EXCEPTIONS]
    assert shipped == ["pillow-jxl-plugin"]


@pytest.mark.parametrize(
    ("metadata", "allowed"),
    [
        ("License-Expression: MIT", True),
        ("License-Expression: MIT AND GPL-2.0-only", False),
        ("License-Expression: Apache-2.0 WITH LLVM-exception", True),
        ("License: BSD-3-Clause", True),
        ("License: Proprietary", False),
        ("Classifier: License :: OSI Approved :: MIT License", True),
        ("Classifier: License :: OSI Approved :: GNU General Public License (GPL)", False),
        (
            "Classifier: License :: OSI Approved :: MIT License\n"
            "Classifier: License :: Other/Proprietary License",
            False,
        ),
        ("Summary: says nothing", False),
    ],
)
def test_a_licence_is_judged_by_what_the_package_says(
    metadata: str, allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stranger-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: stranger\n{metadata}\n")
    monkeypatch.syspath_prepend(tmp_path)
    licences.licence.cache_clear()
    assert licences.is_allowed("stranger") == allowed
    licences.licence.cache_clear()


def test_the_documents_of_licences_name_each_other() -> None:
    assert "docs/licences.md" in (ROOT / "NOTICE").read_text("utf-8")
    assert "](../NOTICE)" in licences.DOCUMENT.read_text("utf-8")


def test_the_bill_of_materials_is_of_the_service_alone() -> None:
    bill = sbom.bill_of_materials()
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "product-search"
    service, development = licences.packages()
    names = {canonicalize_name(one["name"]) for one in bill["components"]}
    assert set(service) <= names
    assert names & set(development) == set()
    assert all(one["version"] for one in bill["components"])
    parts = {one["bom-ref"] for one in [bill["metadata"]["component"], *bill["components"]]}
    assert {one["ref"] for one in bill["dependencies"]} == parts
    assert {need for one in bill["dependencies"] for need in one.get("dependsOn", [])} <= parts
