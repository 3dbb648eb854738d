"""What the peers search: the rows and vectors of the service's own data folder, in their stores.

python -m benchmarks.rig.peer_data SOURCE FOLDER   (fills the afternoon build's folder)
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from pymilvus import DataType, Function, FunctionType, MilvusClient
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
)
from transformers import AutoTokenizer, BertModel

from benchmarks.rig.folders import BENCH, copy
from orm_models import Database, Product
from product_search.access.addresses import OPEN
from product_search.catalog.rows import product_out
from product_search.settings import Settings

_POOLING = {"word_embedding_dimension": 512, "pooling_mode_cls_token": True}
_MODULES = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
_TYPES: dict[str, Any] = {
    "product_id": Integer,
    "milvus_id": BigInteger,
    "revision": Integer,
    "image_generated": Boolean,
    "attributes": JSON,
    "created_at": DateTime,
    "updated_at": DateTime,
}
_VECTORS = ("text_bge_vector", "image_clip_vector")
_AT_ONCE = 1000
Row = dict[str, Any]


def fill_afternoon(source: Path, folder: Path) -> None:
    """Fill the folder of benchmarks.afternoon from a data folder of the service."""
    write_float32(folder / "bge")
    for name in ("image.onnx", "text.safetensors"):
        shutil.copy(Settings().shipped_starter / name, folder / name)
    products = list(rows_of(source))
    _write_rows(folder / "catalog.sqlite3", products)
    titles = {product["milvus_id"]: product["title"] for product in products}
    with closing(MilvusClient(str(folder / "milvus.db"))) as client:
        _make_collections(client)
        for entities in vectors_of(source):
            _write_entities(client, entities, titles)


def write_float32(folder: Path) -> None:
    """Write the BGE that ships as a float32 checkpoint, one for sentence-transformers too.

    What ships has half precision, in which PyTorch is slow on a CPU.
    """
    shipped = Settings().shipped_bge
    model: Any = BertModel.from_pretrained(shipped, dtype=torch.float32, add_pooling_layer=False)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(shipped).save_pretrained(folder)
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (kind, path) in enumerate(_MODULES)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(_POOLING))


def rows_of(source: Path) -> Iterator[Row]:
    """Yield the products of a data folder, as columns that answers are made from."""
    with closing(Database(f"sqlite:///{source / 'catalog.sqlite3'}")) as database:
        shown = database.read(
            lambda session: [product_out(row, OPEN) for row in session.scalars(select(Product))]
        )
    for one in shown:
        yield one.model_dump(exclude={"index_error"}) | {
            "milvus_id": int(one.milvus_id),
            "price": None if one.price is None else str(one.price),
            "index_status": str(one.index_status),
            "created_at": one.created_at.replace(tzinfo=None),
            "updated_at": one.updated_at.replace(tzinfo=None),
        }


def vectors_of(source: Path) -> Iterator[list[Row]]:
    """Yield the entities of a data folder, which nobody may have open, some at once."""
    copied = copy(source, "vectors")
    with closing(MilvusClient(str(copied / "milvus.db"))) as client:
        (name,) = client.list_collections()
        client.load_collection(name)
        fields = ["primary_key", "has_image", *_VECTORS]
        entities = client.query_iterator(name, batch_size=_AT_ONCE, output_fields=fields)
        while part := entities.next():
            yield list(part)
    shutil.rmtree(copied)


def _write_rows(path: Path, products: Sequence[Row]) -> None:
    columns = [
        Column(name, _TYPES.get(name, String), primary_key=name == "milvus_id")
        for name in products[0]
    ]
    metadata = MetaData()
    table = Table("product", metadata, *columns)
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), list(products))
    engine.dispose()


def _make_collections(client: MilvusClient) -> None:
    for name in ("titles", "pictures"):
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=512)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="COSINE")
        if name == "titles":
            jieba = {"enable_analyzer": True, "analyzer_params": {"tokenizer": "jieba"}}
            schema.add_field("title", DataType.VARCHAR, max_length=2000, **jieba)
            schema.add_field("bm25", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_function(Function("bm25", FunctionType.BM25, ["title"], ["bm25"]))
            index.add_index("bm25", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        client.create_collection(name, schema=schema, index_params=index)


def _write_entities(client: MilvusClient, entities: Sequence[Row], titles: dict[int, str]) -> None:
    of_title, of_picture = _VECTORS
    client.insert(
        "titles",
        [
            {"id": key, "title": titles[key], "vector": one[of_title]}
            for one in entities
            for key in [one["primary_key"]]
        ],
    )
    shown = [one for one in entities if one["has_image"]]
    if shown:
        pictures = [{"id": one["primary_key"], "vector": one[of_picture]} for one in shown]
        client.insert("pictures", pictures)


def environment(name: str, packages: Sequence[str]) -> Path:
    """Return the Python of an environment of its own, made now or earlier, with the packages.

    What is installed for this process is seen there too, so that PyTorch is not fetched again.

    Raises:
        CalledProcessError: the packages can't be installed.
    """
    folder = BENCH / f"venv-{name}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not (done.exists() and done.read_text() == "\n".join(packages)):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        (library,) = folder.glob("lib/python*/site-packages")
        (library / "shared.pth").write_text(sysconfig.get_path("purelib"))
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *packages], check=True, stdout=sys.stderr)
        done.write_text("\n".join(packages))
    return python


def fill_txtai(source: Path, folder: Path, python: Path, bge: Path) -> None:
    """Have txtai index the products' titles in its own environment."""
    titles = [[row["product_id"], row["title"]] for row in rows_of(source)]
    script = Path(__file__).with_name("txtai_index.py")
    order = {"bge": str(bge), "index": str(folder / "index"), "titles": titles}
    subprocess.run(
        [str(python), str(script)], input=json.dumps(order).encode(), check=True, stdout=sys.stderr
    )


if __name__ == "__main__":
    fill_afternoon(Path(sys.argv[1]), Path(sys.argv[2]))
