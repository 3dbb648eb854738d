"""The arithmetic of docs/scale.md: what 1, 10 and 100 million products need, as its tables.

python -m benchmarks.scale_arithmetic

Each constant says where it comes from: measured here, published, chosen, or assumed. A test holds
the document to what this prints.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

DAY_S = 86_400
MILLION = 1_000_000
GB = 10**9

# --- one product in Milvus ---
FIELDS, DIMENSIONS = 3, 512  # docs/schema.md
VECTORS_B = FIELDS * DIMENSIONS * 4
# Measured here: 10,000 products take 83 MB in Milvus Lite; less their vectors, this is left for
# keys, title, filters and BM25.
OTHER_B = 83_000_000 // 10_000 - VECTORS_B
# Published (hnswlib's layout): 2 M links of 4 bytes on the lowest layer; M = 32 by default.
HNSW_LINKS_B = FIELDS * 2 * 32 * 4
# Published (Milvus, common.DiskIndex): PQ codes and cache, in memory, as shares of the vectors.
DISKANN_SHARE = 0.125 + 0.1
# Published (DiskANN's layout): a vector of 2,048 bytes and 56 neighbours fill one sector.
DISKANN_DISK_B = FIELDS * 4096
HEADROOM = (
    1.3  # assumed: growing segments, queries, and a segment that is loaded beside its old one
)

# --- the relational store: benchmarks/row_size.py, MariaDB 10.11 ---
ROW_B, EVENT_B = 1_293, 142
OUTBOX_MAX = 100_000  # PRODUCT_SEARCH_OUTBOX_MAX_DEPTH
FILL = 1.3  # assumed: pages are split at random places, where OPTIMIZE has just packed them

# --- encoding a product once more (Chinese-CLIP B/16 and bge-small-zh) ---
IMAGE_GFLOP = 35.13  # published (open_clip, docs/model_profile.csv, ViT-B-16)
# Two operations a weight and token; weights without the embedding tables.
CLIP_TEXT_GFLOP = 2 * 86e6 * 52 / 1e9
BGE_GFLOP = 2 * 13e6 * 64 / 1e9
CPU_GFLOPS = 8 * IMAGE_GFLOP / 0.672  # measured here: 8 pictures in 672 ms, 2 cores, bfloat16
INDEXED_S = 450.0  # measured here (README.md): 100,000 products indexed in 222 s, without encoding
DAILY_SHARE = 0.05  # chosen: so much of the catalogue changes in a day, in an eighth of it
PEAK = 8

# --- searching: published, VectorDBBench, Milvus on 16 cores and 64 GB, 768 dimensions, top 100 ---
NODE_GB, NODE_CORES, NODE_PRODUCTS = 64, 16, 10 * MILLION


@dataclass(frozen=True)
class Step:
    """A size of catalogue, and what was chosen for it."""

    products: int
    index: str
    replicas: int
    shards: int
    published_qps: int  # of one field in one replica at the recall beside it
    published_recall: float

    @property
    def memory_gb(self) -> float:
        """Of one replica, in all its query nodes."""
        if self.index == "HNSW":
            each: float = VECTORS_B + HNSW_LINKS_B + OTHER_B
        else:
            each = DISKANN_SHARE * VECTORS_B + OTHER_B
        return HEADROOM * each * self.products / GB

    @property
    def nodes(self) -> int:
        """Query nodes of one replica: by memory, and no more products than were measured."""
        return max(ceil(self.memory_gb / NODE_GB), ceil(self.products / NODE_PRODUCTS))

    @property
    def node_disk_gb(self) -> float:
        """On the query nodes of one replica: what the index leaves out of memory."""
        return DISKANN_DISK_B * self.products / GB if self.index == "DISKANN" else 0.0

    @property
    def stored_gb(self) -> float:
        """In the object store: the vectors and scalars, and the index beside them."""
        index = DISKANN_DISK_B if self.index == "DISKANN" else VECTORS_B + HNSW_LINKS_B
        return (VECTORS_B + OTHER_B + index) * self.products / GB

    @property
    def database_gb(self) -> float:
        """In MySQL, indexes included, and a full outbox."""
        return (FILL * ROW_B * self.products + EVENT_B * OUTBOX_MAX) / GB

    @property
    def encoding_tflops(self) -> float:
        """That encoding every product in a day takes."""
        each = IMAGE_GFLOP + CLIP_TEXT_GFLOP + BGE_GFLOP
        return each * self.products / DAY_S / 1000

    @property
    def changes_s(self) -> float:
        """Products a second that change while the most do."""
        return DAILY_SHARE * PEAK * self.products / DAY_S

    @property
    def encoded_s(self) -> float:
        """Products a second, where all are encoded in a day."""
        return self.products / DAY_S

    @property
    def workers(self) -> int:
        """That write these to the stores, whatever encodes them."""
        return ceil(max(self.encoded_s, self.changes_s) / INDEXED_S)


# DISKANN was published with 1 and 10 million alone; a node of the third step holds what one of the
# second does, and a search asks all of them.
STEPS = (
    Step(1 * MILLION, "HNSW", 2, 1, 1_259, 0.980),
    Step(10 * MILLION, "HNSW", 2, 1, 179, 0.984),
    Step(100 * MILLION, "DISKANN", 2, 4, 61, 0.991),
)

Row = tuple[str, Callable[[Step], str]]
MILVUS: tuple[Row, ...] = (
    ("index", lambda s: s.index),
    ("memory of one replica, GB", lambda s: f"{s.memory_gb:,.0f}"),
    ("query nodes of 64 GB in it", lambda s: f"{s.nodes}"),
    ("index on their NVMe, GB", lambda s: f"{s.node_disk_gb:,.0f}"),
    ("replicas", lambda s: f"{s.replicas}"),
    ("query nodes in all", lambda s: f"{s.replicas * s.nodes}"),
    ("their memory, GB", lambda s: f"{s.replicas * s.nodes * NODE_GB:,}"),
    ("their cores", lambda s: f"{s.replicas * s.nodes * NODE_CORES:,}"),
    ("shards", lambda s: f"{s.shards}"),
    ("object store, GB", lambda s: f"{s.stored_gb:,.0f}"),
)
SEARCHES: tuple[Row, ...] = (
    ("published, one field, one replica: QPS", lambda s: f"{s.published_qps:,}"),
    ("… at recall@100", lambda s: f"{s.published_recall:.3f}"),
    ("single modes, all replicas: QPS", lambda s: f"{s.replicas * s.published_qps:,}"),
    ("hybrid (three fields): QPS", lambda s: f"{s.replicas * s.published_qps // FIELDS:,}"),
)
REST: tuple[Row, ...] = (
    ("MySQL, GB", lambda s: f"{s.database_gb:,.1f}"),
    ("encoding all in a day: products a second", lambda s: f"{s.encoded_s:,.0f}"),
    ("… TFLOP/s", lambda s: f"{s.encoding_tflops:,.2f}"),
    ("… GPUs at 100 / 300 effective TFLOP/s", lambda s: f"{_gpus(s, 100)} / {_gpus(s, 300)}"),
    ("… or machines of 2 cores, pictures", lambda s: f"{_machines(s):,}"),
    ("changes a second at the peak", lambda s: f"{s.changes_s:,.0f}"),
    ("workers that keep up with both", lambda s: f"{s.workers}"),
    ("Kafka partitions (twice the workers, 4 at least)", lambda s: f"{max(4, 2 * s.workers)}"),
)


def _gpus(step: Step, tflops: float) -> int:
    return ceil(step.encoding_tflops / tflops)


def _machines(step: Step) -> int:
    return ceil(step.encoded_s * IMAGE_GFLOP / CPU_GFLOPS)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table with a column for each step."""
    head = ["", *(f"{step.products // MILLION} M" for step in STEPS)]
    lines = [head, ["---"] * len(head), *([name, *map(write, STEPS)] for name, write in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables() -> list[str]:
    """Return the tables of docs/scale.md, in its order."""
    return [table(rows) for rows in (MILVUS, SEARCHES, REST)]


def main() -> None:
    """Print the tables."""
    each = f"{VECTORS_B} B of vectors, {HNSW_LINKS_B} B of links, {OTHER_B} B of everything else"
    sys.stdout.write(f"a product in Milvus: {each}\n\n" + "\n\n".join(tables()) + "\n")


if __name__ == "__main__":
    main()
