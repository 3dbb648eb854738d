"""What a good engineer builds in an afternoon: the peer that the service is measured against.

AFTERNOON_DATA=FOLDER uvicorn benchmarks.afternoon:app   (benchmarks.rig.peers fills the folder)

BERT in PyTorch, float32 on the CPU, and the starter's image network in ONNX Runtime, each inside
the route; pymilvus on Milvus Lite, FLAT and COSINE; one SELECT … IN on SQLite. Hybrid searches its
three legs one after another. No calibration, facets, filters, cursors, or writes.
"""

from __future__ import annotations

import base64
import io
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel
from pymilvus import MilvusClient
from safetensors.numpy import load_file
from sqlalchemy import MetaData, Table, create_engine, select
from transformers import AutoTokenizer, BertModel

from product_search.encoders.colour import image_colours, text_colours

FOLDER = Path(os.environ["AFTERNOON_DATA"])
INSTRUCTION = "为这个句子生成表示以用于检索相关文章："  # before queries, as BGE wants it
IMAGE_COLOUR, TEXT_COLOUR = 0.08, 0.3  # the starter's shares of colour
LIMIT, HYBRID_LIMIT, RANK_CONSTANT = 10, 128, 60
tokenizer = AutoTokenizer.from_pretrained(FOLDER / "bge")
bert: Any = BertModel.from_pretrained(FOLDER / "bge", dtype=torch.float32, add_pooling_layer=False)
bert.eval()
network = onnxruntime.InferenceSession(FOLDER / "image.onnx", providers=["CPUExecutionProvider"])
starter = load_file(FOLDER / "text.safetensors")
milvus = MilvusClient(str(FOLDER / "milvus.db"))
for name in ("titles", "pictures"):
    milvus.load_collection(name)
engine = create_engine(f"sqlite:///{FOLDER / 'catalog.sqlite3'}")
product = Table("product", MetaData(), autoload_with=engine)
app = FastAPI()


class Product(BaseModel):
    """A product of an answer, with the fields that the service's own have."""

    product_id: int
    sku: str | None
    title: str
    description: str | None
    category: str | None
    brand: str | None
    price: str | None
    attributes: dict[str, Any]
    image_url: str | None
    image_generated: bool
    milvus_id: str
    revision: int
    index_status: str
    created_at: datetime
    updated_at: datetime


class Hit(BaseModel):
    """A product found."""

    rank: int
    score: float
    product: Product


class Query(BaseModel):
    """A query, in the words of the service's own requests."""

    mode: str
    text: str = ""
    image_base64: str = ""


def normalised(vectors: Any) -> Any:
    """Scale rows to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


@torch.inference_mode()
def encode(texts: list[str]) -> Any:
    """Return BERT's vectors of the texts."""
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")
    return normalised(bert(**tokens).last_hidden_state[:, 0].numpy())


def of_picture_space(text: str, document: Any) -> Any:
    """Return the vector that a text has among pictures, by the starter's derivation."""
    thing = normalised((document - starter["mean"]) @ starter["turn"]) * (1 - TEXT_COLOUR) ** 0.5
    return normalised(np.hstack([thing, text_colours([text]) * TEXT_COLOUR**0.5]))[0]


def encode_picture(content: str) -> Any:
    """Return the starter's vector of a picture in base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
    rgb = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    pixels = (rgb.transpose(2, 0, 1)[None] - 127) / 128
    thing, attention = network.run(["embedding", "attention"], {"pixels": pixels})
    small = rgb.reshape(56, 4, 56, 4, 3).mean(axis=(1, 3))[None]
    colours = image_colours(small, attention, starter["colours"]) * IMAGE_COLOUR**0.5
    return normalised(np.hstack([normalised(thing) * (1 - IMAGE_COLOUR) ** 0.5, colours]))[0]


def nearest(collection: str, field: str, query: Any, limit: int = LIMIT) -> list[tuple[int, float]]:
    """Return keys and scores of the nearest entities; of a text by BM25."""
    data = [query if isinstance(query, str) else query.tolist()]
    hits = milvus.search(collection, data, anns_field=field, limit=limit, output_fields=[])
    return [(hit["id"], hit["distance"]) for hit in hits[0]]


def fuse(*legs: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the best of all legs by reciprocal rank."""
    scores: dict[int, float] = {}
    for leg in legs:
        for rank, (key, _) in enumerate(leg, start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (RANK_CONSTANT + rank)
    return sorted(scores.items(), key=lambda item: -item[1])[:LIMIT]


def hits_of(found: list[tuple[int, float]]) -> list[Hit]:
    """Return the products of the keys, in their order."""
    wanted = select(product).where(product.c.milvus_id.in_([key for key, _ in found]))
    with engine.connect() as connection:
        found_rows = connection.execute(wanted).mappings()
        rows = {row["milvus_id"]: dict(row) for row in found_rows}
    return [
        Hit(rank=rank, score=score, product=Product(**rows[key] | {"milvus_id": str(key)}))
        for rank, (key, score) in enumerate(found, start=1)
    ]


@app.post("/search")
def search(query: Query) -> list[Hit]:
    """Search in the mode of the query."""
    if query.mode == "image_to_image":
        return hits_of(nearest("pictures", "vector", encode_picture(query.image_base64)))
    if query.mode == "text_to_text":
        return hits_of(nearest("titles", "vector", encode([INSTRUCTION + query.text])[0]))
    if query.mode == "text_to_image":
        wanted = of_picture_space(query.text, encode([query.text]))
        return hits_of(nearest("pictures", "vector", wanted))
    asked, document = encode([INSTRUCTION + query.text, query.text])
    bm25 = nearest("titles", "bm25", query.text, HYBRID_LIMIT)
    titles = nearest("titles", "vector", asked, HYBRID_LIMIT)
    wanted = of_picture_space(query.text, document[None])
    return hits_of(fuse(bm25, titles, nearest("pictures", "vector", wanted, HYBRID_LIMIT)))
