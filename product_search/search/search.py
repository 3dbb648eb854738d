"""From query to hits: plan the legs, embed, recall from Milvus, hydrate from the database."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from data_models import SearchMode, SearchRequest, SearchResponse
from orm_models import Database
from product_search.errors import AppError, DatabaseUnavailable, VectorStoreUnavailable
from product_search.images.decoding import from_base64
from product_search.indexing.collections import LiveCollections, OpenCollection
from product_search.search.calibration import Calibration
from product_search.search.cursors import Cursors, search_hash
from product_search.search.execution import Search, Stopwatch
from product_search.search.inputs import InputReader
from product_search.search.plan import LegVectors, Plan, QueryInputs, Weighted, embed, plan
from product_search.text.spelling import corrected, is_doubtful

T = TypeVar("T")
_LIKELY = 32  # products whose words a doubtful query is compared with
Answer = SearchResponse | AppError


@dataclass(frozen=True)
class Question:
    """A request whose inputs are ready."""

    request: SearchRequest
    inputs: QueryInputs
    digest: str  # of the request and its image
    watch: Stopwatch
    corrected: str | None = None  # the text that is searched with instead


@dataclass(frozen=True)
class SearchService:
    """Answers searches from the two stores."""

    database: Database
    inputs: InputReader
    collections: LiveCollections
    cursors: Cursors
    calibrated: Callable[[str], Calibration]  # by the encoders' fingerprint
    threads: Executor  # where the legs of a search run

    def search(self, request: SearchRequest, image: bytes | None = None) -> SearchResponse:
        """Return the products nearest to the query that pass the filters.

        `image` are the bytes of the query's image where they came beside the request.

        Raises:
            InvalidRequest: the legs don't suit the inputs.
            InvalidImage, ImageTooLarge, ImageTooManyPixels, RegionOutsideImage: of an image.
            ProductNotFound, ProductWithoutImage, ImageNotFound: of the product that is the query.
            GenerationNotFound, ImageNotFound: of a generated image.
            CursorInvalid, CursorStale, NotCalibrated: what was asked for can't be had.
            DatabaseUnavailable, VectorStoreUnavailable: a store is down.
        """
        question = self.ready(request, image)
        return self.collections.query(self._search, question)

    def search_batch(self, requests: Sequence[SearchRequest]) -> list[Answer]:
        """Return the response to each request, or its error; all are encoded together.

        Raises:
            DatabaseUnavailable, VectorStoreUnavailable: no request can be answered.
        """
        asked = [_or_error(partial(self.ready, request)) for request in requests]
        return self.collections.query(self._answers, asked)

    def ready(self, request: SearchRequest, image: bytes | None = None) -> Question:
        """The request with its images decoded and its products looked up; raises as `search`."""
        watch = Stopwatch()
        with watch.stage("decode"):
            if image is None and request.image_base64 is not None:
                image = from_base64(request.image_base64)
            inputs = self.inputs.read(request, image)
        page = {"mode", "cursor", "offset", "top_k", "explain", "facets"}
        given = [request.chosen_mode, request.model_dump(exclude=page)]
        picture = hashlib.sha256(image or b"").hexdigest()
        return Question(request, inputs, search_hash([given, picture]), watch)

    def _search(self, collection: OpenCollection, question: Question) -> SearchResponse:
        calibration = self.calibrated(collection.encoders.fingerprint)
        question, its_plan = self.planned(collection, question)
        with question.watch.stage("encode"):
            vectors = embed(collection.encoders, [its_plan])
        return self.opened(collection, calibration, question, its_plan, vectors).answer()

    def _answers(
        self, collection: OpenCollection, asked: Sequence[Question | AppError]
    ) -> list[Answer]:
        """The collection is searched with vectors of its own encoders, whatever becomes active."""
        calibration = self.calibrated(collection.encoders.fingerprint)
        planned = [
            one if isinstance(one, AppError) else _or_error(partial(self.planned, collection, one))
            for one in asked
        ]
        plans = [one for one in planned if not isinstance(one, AppError)]
        watch = Stopwatch()
        with watch.stage("encode"):
            vectors = embed(collection.encoders, [one for _, one in plans])
        answers: list[Answer] = []
        for one in planned:
            if isinstance(one, AppError):
                answers.append(one)
                continue
            question, its_plan = one
            question.watch.stages |= watch.stages
            search = self.opened(collection, calibration, question, its_plan, vectors)
            answers.append(_or_error(search.answer))
        return answers

    def planned(self, collection: OpenCollection, question: Question) -> tuple[Question, Plan]:
        """The question as it was probably meant, and its legs. Raises InvalidRequest."""
        meant = self._spelled(collection, question)
        return meant, plan(meant.request, meant.inputs)

    def opened(
        self,
        collection: OpenCollection,
        calibration: Calibration,
        question: Question,
        its_plan: Plan,
        vectors: LegVectors,
    ) -> Search:
        """A search that only has to be answered."""
        return Search(
            database=self.database,
            threads=self.threads,
            cursors=self.cursors,
            collection=collection,
            calibration=calibration,
            request=question.request,
            digest=question.digest,
            corrected=question.corrected,
            plan=its_plan,
            vectors=vectors,
            watch=question.watch,
        )

    def _spelled(self, collection: OpenCollection, question: Question) -> Question:
        """The question, with what its text probably meant."""
        request, texts = question.request, question.inputs.texts
        is_alone = len(texts) == 1 and not question.inputs.images
        if request.chosen_mode is not SearchMode.hybrid or not (request.correct and is_alone):
            return question
        query = texts[0].thing
        if not is_doubtful(query) or not query.terms:
            return question
        with question.watch.stage("recall"):
            hits = collection.store.search_text(query.terms, _LIKELY, request.filters)
        terms = [frozenset(hit.terms.split()) for hit in hits]
        text = corrected(query, sorted(terms, key=query.coverage, reverse=True))
        if text is None:
            return question
        inputs = QueryInputs([Weighted(self.inputs.analyse(text), texts[0].weight)])
        return replace(question, inputs=inputs, corrected=text)


def _or_error(work: Callable[[], T]) -> T | AppError:
    """What the work gives, or the error that is this query's own."""
    try:
        return work()
    except (DatabaseUnavailable, VectorStoreUnavailable):
        raise  # which is every query's
    except AppError as error:
        return error
