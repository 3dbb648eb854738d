"""The model room: text and image encoders behind two Protocols, and the choice among them.

Each implementation is a module of `product_search.encoders` that is imported when it is chosen.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

from PIL import Image
from threadpoolctl import threadpool_limits

from product_search.encoders.cache import EmbeddingCache, Vector
from product_search.encoders.checkpoints import allows_int8, has_weights
from product_search.encoders.embeddings import Matrix
from product_search.encoders.precision import Precision
from product_search.errors import EncoderError
from product_search.heap import give_back_free_memory
from product_search.images.decoding import VERSION

Device = Literal["auto", "cpu", "cuda"]
EncoderChoice = Literal["auto", "starter", "chinese-clip"]
_Kind = Literal["query", "text", "image"]
_Sought = tuple[_Kind, str]  # a text, or the key of an image
LoadImage = Callable[[], Image.Image]  # called where the image's embedding is not known


class TextEncoder(Protocol):
    """Text to embedding, for text-to-text search."""

    fingerprint: str
    dim: int

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised; one row per text, order kept."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised; one row per text, order kept."""
        ...


class ImageTextEncoder(Protocol):
    """Texts and images into one space, so that each can be compared with the other."""

    fingerprint: str
    dim: int

    def encode_texts(self, texts: Sequence[str]) -> Matrix:
        """Return float32 (n, dim), L2-normalised; one row per text, order kept."""
        ...

    def encode_images(self, images: Sequence[Image.Image]) -> Matrix:
        """Return float32 (n, dim), L2-normalised; one row per RGB image, order kept."""
        ...


@runtime_checkable
class DerivedTextEncoder(Protocol):
    """An image-text encoder whose texts are derived from its text encoder's embeddings.

    The embeddings are the costly part, so that a pair computes them once for both encoders.
    """

    query_instruction: str  # what the text encoder puts before a query

    def derive_texts(self, texts: Sequence[str], documents: Matrix) -> Matrix:
        """Return float32 (n, dim), of texts that the text encoder has embedded as documents."""
        ...


@dataclass(frozen=True)
class SearchEmbeddings:
    """Embeddings of what searches look for, each of length 1."""

    queries: Mapping[str, Vector]  # of the text encoder
    texts: Mapping[str, Vector]  # of the image-text encoder
    images: Mapping[str, Vector]  # by the key that the image was given under


@dataclass(frozen=True)
class EncoderPair:
    """The two encoders that a deployment indexes and searches with."""

    name: str
    text: TextEncoder
    image_text: ImageTextEncoder
    device: str
    image_version: int = VERSION  # of the decoding whose vectors its own are compared with
    precision: Precision = "float"  # of what its encoders compute
    chosen_precision: Precision = "float"  # of what they would compute, loaded anew
    _cache: EmbeddingCache[_Sought] = field(
        default_factory=EmbeddingCache, init=False, repr=False, compare=False
    )

    @property
    def is_outdated(self) -> bool:
        """Whether the pair would be loaded otherwise by now, so that its vectors are the former's.

        Images are decoded otherwise since, or the networks compute in another precision.
        """
        return (self.image_version, self.precision) != (VERSION, self.chosen_precision)

    def encode_products(
        self, documents: Sequence[str], titles: Sequence[str]
    ) -> tuple[Matrix, Matrix]:
        """Encode documents with the text encoder, titles with the image-text encoder."""
        if not isinstance(self.image_text, DerivedTextEncoder):
            return self.text.encode_documents(documents), self.image_text.encode_texts(titles)
        rows = {text: row for row, text in enumerate(dict.fromkeys([*documents, *titles]))}
        embedded = self.text.encode_documents(list(rows))  # each text once
        of_titles = embedded[[rows[title] for title in titles]]
        of_documents = embedded[[rows[document] for document in documents]]
        return of_documents, self.image_text.derive_texts(titles, of_titles)

    def encode_search(self, queries: Sequence[str], texts: Sequence[str]) -> tuple[Matrix, Matrix]:
        """Encode queries with the text encoder, texts with the image-text encoder."""
        if not isinstance(self.image_text, DerivedTextEncoder):
            return self.text.encode_queries(queries), self.image_text.encode_texts(texts)
        instructed = [self.image_text.query_instruction + query for query in queries]
        both = self.text.encode_documents([*instructed, *texts])  # all in one go
        of_queries, of_texts = both[: len(queries)], both[len(queries) :]
        return of_queries, self.image_text.derive_texts(texts, of_texts)

    def embed_search(
        self, queries: Iterable[str], texts: Iterable[str], images: Mapping[str, LoadImage]
    ) -> SearchEmbeddings:
        """Return the embeddings of a search; those of the latest ten thousand inputs are known.

        An image's key stands for its content: of two images with the same key one is encoded.
        """
        keys = _sought(queries, texts, images)
        found = self._cache.get(keys, partial(self._encode_sought, images))
        by_kind: dict[_Kind, dict[str, Vector]] = {kind: {} for kind in get_args(_Kind)}
        for (kind, value), vector in found.items():
            by_kind[kind][value] = vector
        return SearchEmbeddings(by_kind["query"], by_kind["text"], by_kind["image"])

    def knows_search(
        self, queries: Iterable[str], texts: Iterable[str], images: Iterable[str]
    ) -> bool:
        """Return whether nothing of a search has to be encoded; images are given by their keys."""
        return self._cache.knows(_sought(queries, texts, images))

    def _encode_sought(
        self, images: Mapping[str, LoadImage], keys: Sequence[_Sought]
    ) -> list[Vector]:
        """Encode in the order of the keys: queries, texts, images."""
        queries, texts, pictures = (
            [value for kind, value in keys if kind == wanted] for wanted in get_args(_Kind)
        )
        vectors: list[Vector] = []
        if queries or texts:
            of_queries, of_texts = self.encode_search(queries, texts)
            vectors += [*of_queries, *of_texts]
        if pictures:
            vectors += [*self.image_text.encode_images([images[key]() for key in pictures])]
        return vectors

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change whenever either encoder would embed differently."""
        both = f"{self.text.fingerprint}:{self.image_text.fingerprint}"
        return hashlib.sha256(both.encode()).hexdigest()[:12]


def _sought(queries: Iterable[str], texts: Iterable[str], images: Iterable[str]) -> list[_Sought]:
    sought: dict[_Kind, Iterable[str]] = {"query": queries, "text": texts, "image": images}
    return [(kind, value) for kind, values in sought.items() for value in values]


def resolve_device(device: Device) -> str:
    """Return the device to use: `auto` is CUDA where PyTorch sees a GPU, else the CPU.

    Raises:
        EncoderError: CUDA is asked for and PyTorch has none.
    """
    if device == "cpu" or (device == "auto" and not _has_driver()):
        return "cpu"
    import torch  # takes seconds and 200 MB; without a driver it has no answer to give

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise EncoderError("PRODUCT_SEARCH_DEVICE=cuda，但 PyTorch 没有可用的 CUDA")
    return "cpu"


def _has_driver() -> bool:
    """Return whether this machine has a driver that PyTorch may reach a GPU by."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()  # AMD's
    return True


def choose_precision(device: str, folders: Sequence[Path]) -> Precision:
    """Return what a device computes the networks of the checkpoints in.

    A CPU's kind makes no difference. Int8 it is on every CPU, unless `manage check-encoders` has
    found that a checkpoint's int8 does not agree with its float32.
    """
    if device == "cpu" and all(allows_int8(folder) for folder in folders):
        return "int8"
    return "float"


def resolve_choice(choice: EncoderChoice, clip: Path) -> EncoderChoice:
    """Return the encoders that the settings choose: `auto` is Chinese-CLIP where it is on disk.

    A first collection is made with these. What searches use afterwards is decided by the
    fingerprint of the active collection, see indexing.startup.
    """
    if choice == "auto":
        return "chinese-clip" if has_weights(clip) else "starter"
    return choice


def open_encoders(
    choice: EncoderChoice,
    *,
    clip: Path,
    bge: Path,
    starter: Path,
    device: Device = "auto",
    image_version: int = VERSION,
    precision: Precision | None = None,
) -> EncoderPair:
    """Load the pair that `choice` names; `auto` is as in `resolve_choice`.

    Whether searches use the pair is decided by the active collection's fingerprint, which has to
    be the pair's own: see indexing.startup.

    With an older `image_version` its vectors are compared with those of images that were decoded
    as releases before this one did. `precision` is that of `choose_precision` where it is None.

    Raises:
        EncoderError: the weights that `choice` needs are not there, or the device is not.
    """
    # The products beside the networks are small, and BLAS's threads would spin for the next one.
    threadpool_limits(1, user_api="blas")
    where = resolve_device(device)
    name = resolve_choice(choice, clip)
    folders = [bge] if name == "starter" else [bge, clip]
    chosen = choose_precision(where, folders)
    precision = precision or chosen
    try:
        text, image_text = _load(name, clip, bge, starter, where, image_version, precision)
    finally:
        give_back_free_memory()
    return EncoderPair(name, text, image_text, where, image_version, precision, chosen)


def _load(
    name: EncoderChoice,
    clip: Path,
    bge: Path,
    starter: Path,
    device: str,
    image_version: int,
    precision: Precision,
) -> tuple[TextEncoder, ImageTextEncoder]:
    from product_search.encoders.bge import BgeEncoder

    text = BgeEncoder(bge, device, precision=precision)
    if name == "starter":
        from product_search.encoders.starter import StarterEncoder

        return text, StarterEncoder(starter, text, image_version=image_version, precision=precision)
    from product_search.encoders.chinese_clip import ChineseClipEncoder

    return text, ChineseClipEncoder(clip, device, image_version=image_version, precision=precision)
