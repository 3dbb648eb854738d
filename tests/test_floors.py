"""The floors of the house, proved from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS: dict[str, float] = {
    "product_search.schemas.examples": -2,
    "product_search.encoders.colour": -1,
    "product_search.database.column_types": -1,
    "product_search.database.transactions": 0,
    "product_search.schemas.system": -1,
    "product_search.errors": -1,
    "product_search.schemas.fields": -1,
    "product_search.schemas.filters": -0.5,
    "product_search.schemas.imports": -1,
    "product_search.schemas.products": -0.4,
    "product_search.schemas.runs": -0.5,
    "product_search.schemas.search": -0.3,
    "product_search.generation_choices": -1,
    "product_search.schemas.generation": -0.5,
    "product_search.grouping": 0,
    "product_search.schemas.matching": -0.2,
    "product_search.schemas.insights": -0.1,
    "product_search.insights.disagreement": 0,
    "product_search.insights.pca": 0,
    "product_search.runs.leases": 0,
    "product_search.images.perceptual_hash": 0,
    "product_search.generation.previews": 0,
    "data_models": 0,
    "orm_models": 1,
    "nlp_models": 1,
    "product_search.milvus.filters": 1,
    "product_search.search.facets": 1,
    "product_search.milvus.milvus_lite": 1,
    "product_search.milvus.options": 1,
    "product_search.milvus.schema": 1,
    "product_search.milvus.store": 1.5,
    "vector_db": 2,
    "product_search.images.store": 1,
    "product_search.images.provenance": 1,
    "product_search.generation.prompts": 1,
    "product_search.generator_keeper": 2,
    "product_search.outbox.kafka": 1,
    "product_search.generation.diffusers": 1,
    "product_search.bulk.tables": 1,
    "product_search.bulk.sources": 2,
    "product_search.client": 1,
    "product_search.api.metrics": 2,
    "product_search.settings": 2,
    "product_search.text.analysis": 2,
    "product_search.search.fusion": 2,
    "product_search.search.calibration": 2,
    "product_search.search.cursors": 2,
    "product_search.text.synonyms": 3,
    "product_search.text.query": 3.5,
    "product_search.text.spelling": 3.55,
    "product_search.outbox.events": 3,
    "product_search.outbox.counts": 4,
    "product_search.runs.queue": 3.4,
    "product_search.runs.generations": 3.6,
    "product_search.outbox.admission": 5,
    "product_search.bootstrap.migrate": 3,
    "product_search.bootstrap.encoders": 3,
    "product_search.indexing.collections": 3,
    "product_search.indexing.indexer": 4,
    "product_search.search.inputs": 3.7,
    "product_search.search.plan": 3.6,
    "product_search.search.recall": 3.7,
    "product_search.search.execution": 3.8,
    "product_search.search.search": 4,
    "product_search.catalog.identity": 4,
    "product_search.insights.near_pairs": 4,
    "product_search.runs.listing": 4.5,
    "product_search.search.matching": 4.5,
    "product_search.search.rerank": 4.5,
    "product_search.search.similar": 4.5,
    "product_search.search.titles": 4.5,
    "product_search.catalog.products": 5,
    "product_search.outbox.relay": 5,
    "product_search.runs.background": 5,
    "product_search.runs.executor": 5,
    "product_search.runs.exclusive": 5.2,
    "product_search.indexing.startup": 5,
    "product_search.drift.reports": 5.5,
    "product_search.drift.orphaned_images": 5,
    "product_search.bulk.importer": 6,
    "product_search.bulk.exporter": 6,
    "product_search.bulk.uploads": 6,
    "product_search.generation.generations": 6,
    "product_search.generation.job": 6.5,
    "product_search.indexing.reindex": 6,
    "product_search.drift.reconciler": 6,
    "product_search.indexing.stored_vectors": 4,
    "product_search.insights.duplicates": 6,
    "product_search.insights.audit": 6,
    "product_search.insights.catalogue_map": 6,
    "product_search.bootstrap.loops": 6,
    "product_search.bootstrap.assemble": 7,
    "product_search.cli.follow": 8,
    "product_search.api.errors": 8,
    "product_search.api.bodies": 7,
    "product_search.api.images": 8,
    "product_search.api.uploads": 8,
    "product_search.api.routes.imports": 9,
    "product_search.api.routes.products": 9,
    "product_search.api.routes.search": 9,
    "product_search.api.routes.generation": 9,
    "product_search.api.routes.matching": 9,
    "product_search.api.routes.insights": 9,
    "product_search.api.routes.system": 9,
    "product_search.demo.language": 8.5,
    "product_search.demo.html": 8.6,
    "product_search.demo.image_input": 8.7,
    "product_search.demo.views.import_file": 8.6,
    "product_search.demo.views.runs": 8.6,
    "product_search.demo.page": 9,
    "product_search.demo.views.duplicates": 9.5,
    "product_search.demo.views.attach": 9.6,
    "product_search.demo.views.generations": 9.7,
    "product_search.demo.views.matching": 9.5,
    "product_search.demo.views.query": 9.5,
    "product_search.demo.views.catalogue": 9.5,
    "product_search.demo.views.bulk_edit": 9.6,
    "product_search.demo.views.form": 9.6,
    "product_search.demo.views.findings": 9.5,
    "main": 10,
    "product_search.manage": 10,
    "product_search.worker": 10,
    "web_demo": 10,
}
# Every module of these packages is on the package's floor.
PACKAGES: dict[str, int] = {
    "product_search.commands": 9,
    "product_search.training": 8,
    "product_search.evaluation": 8,
    "pages": 10,
}
TRAINING = "product_search.training"
OFFLINE = (TRAINING, "product_search.evaluation")

DEMO = (
    "web_demo",
    "pages",
    "product_search.demo.page",
    "product_search.demo.views.attach",
    "product_search.demo.views.bulk_edit",
    "product_search.demo.views.catalogue",
    "product_search.demo.views.form",
    "product_search.demo.views.generations",
    "product_search.demo.views.duplicates",
    "product_search.demo.html",
    "product_search.demo.views.import_file",
    "product_search.demo.language",
    "product_search.demo.views.matching",
    "product_search.demo.image_input",
    "product_search.demo.views.query",
    "product_search.demo.views.runs",
    "product_search.demo.views.findings",
)
DOORS_TO_HTTP = {
    "main",
    "product_search.api.routes.generation",
    "product_search.api.errors",
    "product_search.api.bodies",
    "product_search.api.images",
    "product_search.api.uploads",
    "product_search.api.routes.imports",
    "product_search.api.routes.matching",
    "product_search.api.routes.products",
    "product_search.api.routes.search",
    "product_search.api.routes.insights",
    "product_search.api.routes.system",
}
HOLD_A_SESSION = {
    "orm_models",
    "product_search.database.column_types",
    "product_search.database.transactions",
    "product_search.bootstrap.migrate",
    "product_search.outbox.events",
    "product_search.outbox.counts",
    "product_search.runs.queue",
    "product_search.indexing.collections",
    "product_search.indexing.startup",
    "product_search.indexing.indexer",
    "product_search.outbox.relay",
    "product_search.indexing.reindex",
    "product_search.catalog.products",
    "product_search.bulk.importer",
    "product_search.evaluation",
    "product_search.bulk.exporter",
    "product_search.bulk.uploads",
    "product_search.drift.reports",
    "product_search.drift.orphaned_images",
    "product_search.drift.reconciler",
    "product_search.runs.listing",
    "product_search.runs.exclusive",
    "product_search.insights.duplicates",
    "product_search.catalog.identity",
    "product_search.runs.generations",
    "product_search.generation.generations",
    "product_search.indexing.stored_vectors",
    "product_search.insights.audit",
    "product_search.insights.catalogue_map",
}
OWNERS: dict[str, set[str]] = {
    "pymilvus": {
        "vector_db",
        "product_search.milvus.milvus_lite",
        "product_search.milvus.schema",
    },
    "milvus_lite": {"product_search.milvus.milvus_lite"},
    "grpc": {"vector_db"},
    "confluent_kafka": {"product_search.outbox.kafka"},
    "torch": {
        "nlp_models",
        "product_search.generation.diffusers",
        "product_search.generation.previews",
        TRAINING,
    },
    "diffusers": {"product_search.generation.diffusers"},
    "transformers": {"nlp_models", "product_search.generation.diffusers", TRAINING},
    "onnxruntime": {"nlp_models", TRAINING},
    "safetensors": {"nlp_models", TRAINING},
    "modelscope": {"nlp_models"},
    "fastapi": DOORS_TO_HTTP,
    "starlette": DOORS_TO_HTTP,
    "python_multipart": {"product_search.api.uploads"},
    "streamlit": set(DEMO),
    "streamlit_cropper": {"product_search.demo.image_input"},
    "plotly": {"pages"},
    "babel": {"product_search.demo.language"},
    "sqlalchemy": HOLD_A_SESSION,
    "alembic": {"product_search.bootstrap.migrate"},
    "opencc": {"product_search.text.analysis"},
    "rjieba": {"product_search.text.analysis"},
    "pypinyin": {"product_search.text.analysis"},
    "prometheus_client": {"product_search.api.metrics"},
    "pydantic_settings": {"product_search.settings"},
}
DEMO_MAY_IMPORT = {
    "data_models",
    "product_search",
    "product_search.client",
    "product_search.grouping",  # pure, and nothing else
    "product_search.settings",
    *DEMO,
}
NOT_OURS = {".venv", "data", "build", "node_modules"}
MAX_LINES = 400
MAX_FUNCTION_LINES = 40


def module_files() -> dict[str, Path]:
    """The project's modules by dotted name; tests and stand-alone scripts are none."""
    found = {path.stem: path for path in ROOT.glob("*.py")}
    for package in ("product_search", "pages"):
        for path in (ROOT / package).rglob("[!_]*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name] = path
    return found


def source_files() -> list[Path]:
    """Every Python file that ships, scripts included."""
    return [
        path
        for path in ROOT.rglob("*.py")
        if not NOT_OURS & set(path.relative_to(ROOT).parts)
        and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
        and path.relative_to(ROOT).parts[0] != "tests"
    ]


MODULES = module_files()
SOURCES = source_files()


def relative_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def floor_of(name: str) -> float | None:
    for package, floor in PACKAGES.items():
        if inside(name, package):
            return floor
    return FLOORS.get(name)


def imported_names(path: Path) -> Iterator[str]:
    """Dotted names that the file imports, wherever in it: modules, and what is taken from them."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def our_imports(name: str) -> set[str]:
    """The project's modules that this one imports."""
    return {other for other in imported_names(MODULES[name]) if other in MODULES} - {name}


def test_every_module_has_a_floor() -> None:
    assert [name for name in MODULES if floor_of(name) is None] == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_from_lower_floors(name: str) -> None:
    mine = floor_of(name)
    assert mine is not None
    for other in our_imports(name) - {"product_search"}:
        theirs = floor_of(other)
        together = any(inside(name, one) and inside(other, one) for one in OFFLINE)
        assert theirs is not None
        assert together or theirs < mine, f"{name} ({mine}) imports {other} ({theirs})"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_heavy_library_is_imported_only_by_its_owner(name: str) -> None:
    for imported in imported_names(MODULES[name]):
        owners = OWNERS.get(imported.partition(".")[0])
        if owners is not None:
            assert any(inside(name, owner) for owner in owners), f"{name} imports {imported}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_what_works_offline_is_imported_by_nothing_that_serves(name: str) -> None:
    for other in our_imports(name):
        for package in OFFLINE:
            assert inside(name, package) or not inside(other, package)


@pytest.mark.parametrize(
    "name", sorted(name for name in MODULES if any(inside(name, part) for part in DEMO))
)
def test_the_demo_speaks_http_only(name: str) -> None:
    assert our_imports(name) - DEMO_MAY_IMPORT == set()


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"product_search.settings"}))
def test_only_the_settings_read_the_environment(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    attributes = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    taken = attributes | {
        imported.removeprefix("os.")
        for imported in imported_names(MODULES[name])
        if imported.startswith("os.")
    }
    assert taken & {"environ", "environb", "getenv", "getenvb", "putenv"} == set()


def test_the_root_is_no_package() -> None:
    assert not (ROOT / "__init__.py").exists()


def test_the_files_that_the_user_named_are_at_the_root() -> None:
    assert {"main", "data_models", "orm_models", "nlp_models", "vector_db"} <= set(MODULES)


@pytest.mark.parametrize("path", SOURCES, ids=relative_name)
def test_a_file_is_short_and_says_what_it_owns(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(ast.parse(text)), "a module begins with a docstring"


@pytest.mark.parametrize("path", SOURCES, ids=relative_name)
def test_a_function_is_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"
