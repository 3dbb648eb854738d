"""Ground floor: what the API takes and gives."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from product_search.errors import ErrorBody as ErrorBody
from product_search.schemas import examples
from product_search.schemas.fields import (
    INT64_MAX as INT64_MAX,
    MAX_DESCRIPTION as MAX_DESCRIPTION,
    MAX_LABEL as MAX_LABEL,
    MAX_OFFSET as MAX_OFFSET,
    MAX_QUERY as MAX_QUERY,
    MAX_TITLE as MAX_TITLE,
    MAX_TOP_K as MAX_TOP_K,
    Attributes as Attributes,
    Description as Description,
    Label as Label,
    Labels as Labels,
    Price as Price,
    ProductId as ProductId,
    Query as Query,
    Strict as Strict,
    Title as Title,
    Whole as Whole,
    is_blank as is_blank,
)
from product_search.schemas.filters import (
    FacetCount as FacetCount,
    Facets as Facets,
    MomentRange as MomentRange,
    NumberRange as NumberRange,
    PriceBand as PriceBand,
    PriceRange as PriceRange,
    SearchFilters as SearchFilters,
)
from product_search.schemas.generation import (
    MAX_GENERATED as MAX_GENERATED,
    GeneratedPicture as GeneratedPicture,
    GenerationAccepted as GenerationAccepted,
    GenerationOut as GenerationOut,
    GenerationPage as GenerationPage,
    GenerationQuery as GenerationQuery,
    GenerationRequest as GenerationRequest,
    GenerationStyle as GenerationStyle,
    PictureOfGeneration as PictureOfGeneration,
)
from product_search.schemas.imports import (
    BadImportRow as BadImportRow,
    ImportAccepted as ImportAccepted,
    ImportCounts as ImportCounts,
    ImportStatus as ImportStatus,
)
from product_search.schemas.insights import (
    AuditItem as AuditItem,
    AuditPage as AuditPage,
    AuditQuery as AuditQuery,
    AuditRun as AuditRun,
    CatalogueMap as CatalogueMap,
    DuplicateGroup as DuplicateGroup,
    DuplicatePair as DuplicatePair,
    DuplicateRun as DuplicateRun,
    DuplicatesPage as DuplicatesPage,
    DuplicatesQuery as DuplicatesQuery,
    MapComputing as MapComputing,
    MapField as MapField,
    MapPoint as MapPoint,
    MapQuery as MapQuery,
    SurveyQuery as SurveyQuery,
    SurveyRun as SurveyRun,
    Why as Why,
)
from product_search.schemas.matching import (
    MAX_BATCH_PICTURES as MAX_BATCH_PICTURES,
    MAX_BATCH_TEXT as MAX_BATCH_TEXT,
    MAX_MATCHED as MAX_MATCHED,
    MAX_QUERIES as MAX_QUERIES,
    MAX_RERANKED as MAX_RERANKED,
    MAX_TITLES as MAX_TITLES,
    BatchRequest as BatchRequest,
    BatchResponse as BatchResponse,
    MatchImage as MatchImage,
    MatchPair as MatchPair,
    MatchRequest as MatchRequest,
    MatchResponse as MatchResponse,
    MatchText as MatchText,
    RerankRequest as RerankRequest,
    RerankResponse as RerankResponse,
    SimilarBy as SimilarBy,
    SimilarQuery as SimilarQuery,
    TitleHit as TitleHit,
    TitlesRequest as TitlesRequest,
    TitlesResponse as TitlesResponse,
    TitleSuggestion as TitleSuggestion,
    Verdict as Verdict,
)
from product_search.schemas.products import (
    FilterQuery as FilterQuery,
    IndexStatus as IndexStatus,
    ListSort as ListSort,
    ProductCreate as ProductCreate,
    ProductCreated as ProductCreated,
    ProductListQuery as ProductListQuery,
    ProductOut as ProductOut,
    ProductPage as ProductPage,
    ProductPatch as ProductPatch,
)
from product_search.schemas.runs import (
    RunOut as RunOut,
    RunsPage as RunsPage,
)
from product_search.schemas.search import (
    DENSE_FIELDS as DENSE_FIELDS,
    MAX_PARTS as MAX_PARTS,
    Hit as Hit,
    HitExplain as HitExplain,
    Leg as Leg,
    LegExplain as LegExplain,
    QueryPart as QueryPart,
    SearchHit as SearchHit,
    SearchMode as SearchMode,
    SearchRequest as SearchRequest,
    SearchResponse as SearchResponse,
    SearchSort as SearchSort,
    TookMs as TookMs,
    VectorField as VectorField,
)
from product_search.schemas.system import (
    DoctorRun as DoctorRun,
    DriftExample as DriftExample,
    DriftKind as DriftKind,
    DriftReport as DriftReport,
    DriftRun as DriftRun,
    DriftTotal as DriftTotal,
)


class EncoderInfo(BaseModel):
    """Which encoders answer, and where they run."""

    name: str
    fingerprint: str
    device: str
    hint: str | None = Field(None, description="设置选的编码器与在用的不同时：怎样换")


class OutboxCounts(BaseModel):
    """Index work that waits, and that was given up."""

    pending: int
    retrying: int = Field(description="失败过、会自动重试的商品数")
    failed: int


class Health(BaseModel):
    """`down` (503): the catalogue can't be served; `degraded`: search or indexing can't, searches
    find only a part, or the last doctor's walk left drift that answers suffer from."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.HEALTH]})

    status: Literal["ok", "degraded", "down"]
    database: Literal["ok", "down"]
    vector_store: Literal["ok", "filling", "down"] = Field(
        description="filling：在用的集合是新建的，还在由数据库填充，搜索只找得到已填入的商品"
    )
    kafka: Literal["ok", "down"] | None = Field(
        None, description="最近一次向 Kafka 发布；不使用 Kafka 时为 null"
    )
    encoders: EncoderInfo
    outbox: OutboxCounts
    drift: DriftTotal | None = Field(
        None, description="最近一次核对剩下的不一致；从未核对则为 null"
    )
