"""What the service's parts do alone: encoders and vector store, in a process of their own.

python -m benchmarks.rig.parts   (an order as JSON on the standard input; prints queries a second)

The encoder has batches of 32 texts or 16 pictures, as many threads as it takes; the store 32
vectors in one call, the service's collection, limit, filter and output fields.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from pymilvus import MilvusClient

from benchmarks.rig.catalogue import Checkout
from nlp_models import EncoderPair
from product_search.bootstrap.encoders import EncoderLoader
from product_search.images.decoding import decode
from product_search.milvus.entities import TERMS
from product_search.milvus.schema import BM25
from product_search.schemas.search import VectorField
from product_search.search.recall import HybridDepth
from product_search.settings import Settings
from product_search.text.query import analyse
from product_search.text.synonyms import Synonyms

TEXTS, PICTURES, VECTORS = 32, 16, 32  # at once
DEPTH = 64  # as the service recalls of one leg for a first page
Rates = dict[str, float]  # by mode


def measure(
    what: str, data: Path, seconds: float, texts: list[str], pictures: list[bytes]
) -> Rates:
    """Return queries a second by mode, of "encoder" or "store", from a process of its own.

    Args:
        what: the part.
        data: a data folder of this checkout that no process has open.
        seconds: how long each mode is measured.
        texts: queries; the encoder sees none twice if there are enough.
        pictures: files.
    """
    order = {
        "what": what,
        "data": str(data),
        "seconds": seconds,
        "texts": texts,
        "pictures": [base64.b64encode(picture).decode() for picture in pictures],
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rig.parts"],
        env=Checkout().environment(data),
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    rates: Rates = json.loads(done.stdout)
    return rates


def _encoder(order: dict[str, Any], encoders: EncoderPair) -> Rates:
    pictures = [decode(base64.b64decode(one)) for one in order["pictures"]]
    seconds = order["seconds"]

    def rate(work: Callable[[list[str]], object]) -> float:
        return _per_second(work, order["texts"], TEXTS, seconds)

    return {
        "text_to_text": rate(encoders.text.encode_queries),
        "text_to_image": rate(encoders.image_text.encode_texts),
        "hybrid": rate(lambda batch: encoders.encode_search(batch, batch)),
        "image_to_image": _per_second(
            encoders.image_text.encode_images, pictures, PICTURES, seconds
        ),
    }


def _store(order: dict[str, Any], encoders: EncoderPair) -> Rates:
    texts, seconds = order["texts"][:256], order["seconds"]
    synonyms = Synonyms(Settings().synonyms_path)
    terms = [analyse(text, synonyms).terms for text in texts]
    of_text = encoders.text.encode_queries(texts).tolist()
    of_picture = encoders.image_text.encode_texts(texts).tolist()
    with closing(MilvusClient(str(Path(order["data"]) / "milvus.db"))) as client:
        (name,) = client.list_collections()
        client.load_collection(name)

        def rate(field: VectorField, data: list[Any], limit: int, fields: list[str]) -> float:
            is_text = field is VectorField.text_bm25
            options = {
                "anns_field": field.value,
                "limit": limit,
                "filter": "has_image == true" if field is VectorField.image_clip else "",
                "search_params": {"metric_type": BM25[1] if is_text else "COSINE"},
                "output_fields": fields,
            }
            search = partial(client.search, name, **options)
            return _per_second(lambda batch: search(data=batch), data, VECTORS, seconds)

        single = {
            mode: rate(field, data, DEPTH, [])
            for mode, field, data in (
                ("text_to_text", VectorField.text_bge, of_text),
                ("text_to_image", VectorField.image_clip, of_picture),
            )
        }
        legs = [
            rate(field, data, HybridDepth.FIRST, [TERMS])
            for field, data in (
                (VectorField.text_bm25, terms),
                (VectorField.text_bge, of_text),
                (VectorField.image_clip, of_picture),
            )
        ]
    hybrid = 1 / sum(1 / leg for leg in legs)
    return single | {"image_to_image": single["text_to_image"], "hybrid": hybrid}


def _per_second(
    work: Callable[[list[Any]], object], items: Sequence[Any], size: int, seconds: float
) -> float:
    batches = [list(items[at : at + size]) for at in range(0, len(items) - size + 1, size)]
    work(batches[-1])  # warm-up
    done, begun = 0, time.perf_counter()
    for batch in cycle(batches):
        work(batch)
        done += len(batch)
        if (spent := time.perf_counter() - begun) > seconds:
            break
    return done / spent


def main() -> None:
    """Carry out the order."""
    order = json.load(sys.stdin)
    encoders = EncoderLoader(Settings()).load_chosen()
    part = {"encoder": _encoder, "store": _store}[order["what"]]
    sys.stdout.write(json.dumps(part(order, encoders)))


if __name__ == "__main__":
    main()
