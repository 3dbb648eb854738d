"""What a query is made of: the texts and images of a request, read, decoded and weighted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

from PIL import Image

from data_models import (
    Interpretation,
    InterpretedKind,
    Leg,
    PictureOfGeneration,
    QueryPart,
    SearchMode,
    SearchRequest,
    TookMs,
)
from orm_models import Database, Product
from product_search import telemetry, tracing
from product_search.batching import waited_s
from product_search.catalog.rows import find_product
from product_search.errors import ProductWithoutImage
from product_search.images.decoding import decode, from_base64, image_warnings
from product_search.images.processes.messages import Region
from product_search.images.store import ImageStore, content_hash
from product_search.runs import generations
from product_search.search.cursors import search_hash
from product_search.search.understanding import Understood, understand
from product_search.text.query import QueryText, analyse
from product_search.text.synonyms import Synonyms

T = TypeVar("T")
STAGES = ("decode", "wait", "encode", "recall", "fuse", "hydrate")
# Of a request, what makes no other search of it; the mode and the image are hashed as they were
# understood, whether they were given or not.
_NOT_HASHED = {
    "mode",
    "image_base64",
    "image_url",
    "cursor",
    "offset",
    "top_k",
    "explain",
    "facets",
}


@dataclass(frozen=True)
class Weighted(Generic[T]):
    """A text or an image to look for; with a negative weight, to keep away from."""

    value: T
    weight: float = 1.0


class QueryImage:
    """An image to look for, and the key by which its embedding is known."""

    def __init__(self, key: str, decode_image: Callable[[], Image.Image]) -> None:
        """Decode the image, by what can decode it again. Raises what that raises."""
        self.key = key
        self._decode = decode_image
        self._decoded: Image.Image | None = decode_image()

    @classmethod
    def read(cls, content: bytes, region: Region | None = None) -> QueryImage:
        """Decode the image of a file, or a region of it. Raises as `decode`."""
        key = _image_key(content_hash(content), region)
        return cls(key, partial(decode, content, region))

    def load(self) -> Image.Image:
        """Return the image, decoded anew where it was dropped."""
        decoded = self._decoded
        return self._decode() if decoded is None else decoded

    def drop(self) -> None:
        """Keep the decoded image no longer: it takes 4 MB, and its embedding is known by now."""
        self._decoded = None


def _image_key(image_hash: str, region: Region | None) -> str:
    return image_hash if region is None else f"{image_hash}:{region}"


Value = QueryText | QueryImage


@dataclass(frozen=True)
class QueryInputs:
    """The texts and images of a query, and the entities that are not to be found."""

    texts: Sequence[Weighted[QueryText]] = ()
    images: Sequence[Weighted[QueryImage]] = ()
    excluded: frozenset[int] = frozenset()  # milvus_ids

    @property
    def wanted_texts(self) -> list[QueryText]:
        """The texts of positive weight."""
        return [text.value for text in self.texts if text.weight > 0]

    @property
    def unwanted_texts(self) -> list[QueryText]:
        """The texts of negative weight."""
        return [text.value for text in self.texts if text.weight < 0]

    @property
    def bm25_terms(self) -> str:
        """The terms of the wanted texts, parted by spaces; empty where these ask for nothing."""
        return " ".join(text.terms for text in self.wanted_texts).strip()

    @property
    def required_terms(self) -> frozenset[str]:
        """The terms that a product must have."""
        return frozenset[str]().union(*(text.required for text in self.wanted_texts))

    def suit(self, leg: Leg) -> bool:
        """Return whether there is a wanted input of the kind that the leg looks for."""
        inputs: Sequence[Weighted[QueryText] | Weighted[QueryImage]] = (
            self.texts if leg.takes_text else self.images
        )
        return any(one.weight > 0 for one in inputs)


@dataclass
class Stopwatch:
    """Milliseconds by stage; where traces are sent, also from when to when each went on."""

    stages: dict[str, float] = field(default_factory=dict)
    intervals: list[tracing.Interval] = field(default_factory=list)
    parent: tracing.Context | None = field(default_factory=tracing.current)  # of their spans

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to the stage, but for its waits before others' work."""
        start, waited, begun = time.perf_counter(), waited_s(), tracing.now()
        try:
            yield
        finally:
            if begun:
                self.intervals.append(tracing.Interval(name, begun, tracing.now()))
            waited = waited_s() - waited
            spent = time.perf_counter() - start - waited
            self.add({"wait": 1000 * waited, name: 1000 * spent})

    def add(self, stages: Mapping[str, float]) -> None:
        """Add the milliseconds to those of each stage."""
        for name, spent in stages.items():
            self.stages[name] = self.stages.get(name, 0.0) + spent

    def add_shared(self, spent: Stopwatch) -> None:
        """Add what was done for several searches at once."""
        self.add(spent.stages)
        self.intervals += spent.intervals

    def copy(self) -> Stopwatch:
        """Return another that goes on from here."""
        return replace(self, stages=dict(self.stages), intervals=list(self.intervals))

    def finish(self, mode: str) -> TookMs:
        """Count the stages in the metrics, as those of a search of this mode; return all, rounded.

        Each of the searches that run together has the time that all took to encode, recall and
        hydrate. A stage that did not run took 0 ms.
        """
        telemetry.observe_stages(mode, self.stages)
        tracing.record_intervals(self.parent, self.intervals)
        spent = {name: round(self.stages.get(name, 0.0), 2) for name in STAGES}
        return TookMs(**spent, total=round(sum(spent.values()), 2))


@dataclass(frozen=True)
class Query:
    """A request with its inputs read, and the time that was spent on it so far.

    The request is as it was understood: its filters have the price words, its text has not.
    """

    request: SearchRequest
    inputs: QueryInputs
    watch: Stopwatch
    digest: str = ""  # of the request and its image: cursors are bound to it
    corrected: str | None = None  # the text that is searched with instead of the request's
    offered: str | None = None  # a text that was perhaps meant; it is not searched with
    warnings: Sequence[str] = ()  # of its image
    typed: str | None = None  # the text before its words were understood
    interpreted: Sequence[Interpretation] = ()

    @property
    def has_image(self) -> bool:
        """Whether there are images to encode."""
        return bool(self.inputs.images)

    def in_full(self, text: str | None) -> str | None:
        """Return a text for the one that is searched with, beside the words that were understood.

        So it can be searched for again: 拉杆箱 for 拉杆相 in 拉杆相 300元以内 is 拉杆箱 300元以内.
        """
        searched = self.request.text
        if text is None or not self.typed or not searched or not self.interpreted:
            return text
        if searched in self.typed:
            return self.typed.replace(searched, text, 1)
        return " ".join([text, *(one.text for one in self.interpreted)])

    @property
    def says_prices(self) -> bool:
        """Whether words of it became filters."""
        return any(one.kind is InterpretedKind.price for one in self.interpreted)

    @property
    def contradicts(self) -> bool:
        """Whether its words leave no product that its filters let pass."""
        return any(one.contradicts for one in self.interpreted)


@dataclass(frozen=True)
class InputReader:
    """Reads the inputs of requests: decodes images, loads products, analyses texts."""

    database: Database
    images: ImageStore
    synonyms: Synonyms

    def read(self, request: SearchRequest) -> Query:
        """Return the request with its inputs.

        Raises:
            InvalidImage, ImageTooLarge, ImageTooManyPixels, ImageTooComplex: an image can't be
                read.
            Overloaded: an image has waited too long for its turn to be decoded.
            RegionOutsideImage: the region is not wholly within the image.
            ProductNotFound, ProductWithoutImage, ImageNotFound: of a product of the query.
            GenerationNotFound, ImageNotFound: of a generated image.
        """
        watch = Stopwatch()
        with watch.stage("decode"):
            image = request.image
            if request.image_base64 is not None:
                image = from_base64(request.image_base64)
            understood = understand(request)
            inputs = self._inputs(understood, image)
        parts = request.parts or ()
        digest = search_hash(
            [
                request.chosen_mode,
                request.model_dump(exclude=_NOT_HASHED),
                hashlib.sha256(image or b"").hexdigest(),
                *(hashlib.sha256(part.image).hexdigest() for part in parts if part.image),
            ]
        )
        return Query(
            understood.request,
            inputs,
            watch,
            digest,
            warnings=[*(image_warnings(image) if image is not None else ()), *understood.warnings],
            typed=request.text,
            interpreted=understood.interpreted,
        )

    def analyse(self, text: str) -> QueryText:
        """Return the text's words, with the operator's synonyms."""
        return analyse(text, self.synonyms)

    def load_product(self, product_id: int) -> Product:
        """Return the product's row.

        Raises:
            ProductNotFound: there is no such product.
        """
        return self.database.read(find_product, product_id)

    def load_image(self, product: Product, region: Region | None = None) -> Image.Image:
        """Return the product's image, or the region of it.

        Raises:
            ProductWithoutImage: the product has no image.
            ImageNotFound: the image store has lost it.
            RegionOutsideImage: the region is not wholly within the image.
        """
        if product.image_hash is None:
            raise ProductWithoutImage(f"商品 {product.id} 没有图片，不能用作图片查询")
        return self.images.load(product.image_hash, region)

    def _inputs(self, understood: Understood, image: bytes | None) -> QueryInputs:
        request = understood.request
        values: list[tuple[Value, float]] = []
        if request.text is not None:
            wanted = analyse(request.text, self.synonyms, understood.unwanted, understood.quoted)
            values.append((wanted, 1.0))
        values += [(self.analyse(text), -1.0) for text in understood.unwanted]
        if image is not None:
            values.append((QueryImage.read(image, request.region), 1.0))
        if request.generation is not None:
            values.append((self._generated_image(request.generation, request.region), 1.0))
        if request.product_id is not None:
            product = self.load_product(request.product_id)
            values += [(one, 1.0) for one in self._product_values(product, request, bool(values))]
        excluded: set[int] = set()
        for part in request.parts or ():
            value, milvus_id = self._part_value(part)
            values.append((value, part.weight))
            if part.weight < 0 and milvus_id is not None:
                excluded.add(milvus_id)
        return QueryInputs(
            texts=[Weighted(one, weight) for one, weight in values if isinstance(one, QueryText)],
            images=[Weighted(one, weight) for one, weight in values if isinstance(one, QueryImage)],
            excluded=frozenset(excluded),
        )

    def _product_values(
        self, product: Product, request: SearchRequest, has_others: bool
    ) -> list[Value]:
        """Return what a single mode compares; in hybrid the title and the image.

        Beside other inputs the product is an example, and gives its image alone: its title would
        ask for what the other inputs want otherwise.
        """
        mode = request.chosen_mode
        if mode.takes_text:
            return [self.analyse(product.title)]
        if product.image_hash is None and mode is SearchMode.hybrid and request.region is None:
            return [self.analyse(product.title)]
        image = self._product_image(product, request.region)
        is_alone = mode is SearchMode.hybrid and not has_others and not request.parts
        return [self.analyse(product.title), image] if is_alone else [image]

    def _part_value(self, part: QueryPart) -> tuple[Value, int | None]:
        """Return the part's text or image, and the milvus_id where the part is a product."""
        if part.text is not None:
            return self.analyse(part.text), None
        if part.image is not None:
            return QueryImage.read(part.image), None
        if part.image_base64 is not None:
            return QueryImage.read(from_base64(part.image_base64)), None
        if part.generation is not None:
            return self._generated_image(part.generation), None
        assert part.product_id is not None, "QueryPart has checked that one is given"
        product = self.load_product(part.product_id)
        if product.image_hash is None:
            return self.analyse(product.title), product.milvus_id
        return self._product_image(product), product.milvus_id

    def _generated_image(
        self, wanted: PictureOfGeneration, region: Region | None = None
    ) -> QueryImage:
        image_hash = generations.find_image_hash(self.database, wanted)
        load = partial(self.images.load, image_hash, region)
        return QueryImage(_image_key(image_hash, region), load)

    def _product_image(self, product: Product, region: Region | None = None) -> QueryImage:
        load = partial(self.load_image, product, region)
        return QueryImage(_image_key(str(product.image_hash), region), load)
