"""Schema of a collection: its name, fields, and the function that fills one of them."""

from __future__ import annotations

from collections.abc import Mapping

from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient

from product_search.milvus.entities import TERMS, TEXT_BYTES
from product_search.schemas.search import VectorField

# Raised when the schema below changes: a new version is a new collection, filled afresh.
SCHEMA_VERSION = 2
# Index, metric and parameters of the field that Milvus itself fills, from search_text.
BM25 = ("SPARSE_INVERTED_INDEX", "BM25", {"bm25_k1": 1.2, "bm25_b": 0.75})


def collection_name(fingerprint: str) -> str:
    """Return the name of the collection for this encoder pair and this schema."""
    return f"product_v{SCHEMA_VERSION}_{fingerprint}"


def collection_schema(
    dims: Mapping[VectorField, int], partition_key: str | None = None
) -> CollectionSchema:
    """Return the schema of a collection with these vectors; only servers take `partition_key`."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("primary_key", DataType.INT64, is_primary=True)
    for field, dim in dims.items():
        schema.add_field(field.value, DataType.FLOAT_VECTOR, dim=dim)
    for text_field, size in TEXT_BYTES.items():
        terms = {"enable_analyzer": True, "analyzer_params": {"tokenizer": "whitespace"}}
        more = terms if text_field == TERMS else {}
        is_key = text_field == partition_key
        schema.add_field(
            text_field, DataType.VARCHAR, max_length=size, is_partition_key=is_key, **more
        )
    for int_field in ("product_id", "revision", "price", "created_at"):
        schema.add_field(int_field, DataType.INT64)
    schema.add_field("has_image", DataType.BOOL)
    schema.add_field("attributes", DataType.JSON)
    schema.add_field(VectorField.text_bm25.value, DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, [TERMS], [VectorField.text_bm25.value]))
    return schema
