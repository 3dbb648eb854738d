"""The only reader of the environment: every setting, its prefix PRODUCT_SEARCH_, its default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from product_search.errors import StartError
from product_search.fetching.policy import Hosts
from product_search.images.files.bucket import check_endpoint, check_url
from product_search.milvus.options import (
    Consistency,
    IndexType,
    PartitionKey,
    check_uri,
    json_object,
)
from product_search.schemas.addresses import host_pattern, page_origin
from product_search.schemas.validation import invalid_request

ROOT = Path(__file__).resolve().parent.parent
GenerationChoice = Literal["default", "light", "strong"]
LogFormat = Literal["console", "json"]


@dataclass(frozen=True)
class PublishedModel:
    """A diffusers pipeline on ModelScope."""

    model: str
    gigabytes: int  # of its download, about


GENERATION_MODELS: dict[GenerationChoice, PublishedModel] = {
    "default": PublishedModel("Tongyi-MAI/Z-Image-Turbo", 33),
    "light": PublishedModel("black-forest-labs/FLUX.2-klein-4B", 16),
    "strong": PublishedModel("Qwen/Qwen-Image-2512", 58),
}
# What of a snapshot is fetched: no images, no pickles, no copy of the weights for other programs.
PIPELINE_FILES = ("model_index.json", "*/*.json", "*/*.txt", "*/*.jinja", "*/*.safetensors")
# What stands for a password in examples: in .env.example, now and before, and in the documents.
PLACEHOLDERS = ("change-me", "USER:PASSWORD", "…")
JsonObject = Annotated[dict[str, Any], NoDecode, BeforeValidator(json_object)]


def _between_commas(value: object) -> object:
    """Return what a text has between its commas; what is no text as it is."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _check_hosts(names: list[str]) -> list[str]:
    """Return the names; raise ValueError for what names no host."""
    for name in names:
        Hosts.parse(name)
    return names


HostPatterns = Annotated[
    tuple[Annotated[str, AfterValidator(host_pattern)], ...],
    NoDecode,
    BeforeValidator(_between_commas),
]
PageOrigins = Annotated[
    tuple[Annotated[str, AfterValidator(page_origin)], ...],
    NoDecode,
    BeforeValidator(_between_commas),
]


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises:
        StartError: a setting is wrong; the message names each and what is allowed.
    """
    try:
        return Settings()
    except ValidationError as error:
        reasons = invalid_request(error.errors()).fields or {}  # the same words as the API's
        raise StartError(
            "；".join(f"PRODUCT_SEARCH_{k.upper()}：{v}" for k, v in reasons.items())
        ) from error


def load_log_format() -> LogFormat:
    """Read how to log, before all else; a wrong value is told by who loads all settings."""
    try:
        return _LogSettings().log_format
    except ValidationError:
        return "console"


class _LogSettings(BaseSettings):
    """What is needed to tell of anything else that is wrong."""

    model_config = SettingsConfigDict(
        env_prefix="PRODUCT_SEARCH_", env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    log_format: LogFormat = Field(
        "console", description="console: lines for people; json: one object a line, for machines"
    )


class Settings(_LogSettings):
    """Settings from the environment, then from a `.env` file in the working directory."""

    data_dir: Path = Field(Path("data"), description="everything that the service writes")
    database_url: str | None = Field(
        None, description="SQLAlchemy URL; default: SQLite file in data_dir"
    )
    database_pool_size: int = Field(
        20, ge=2, le=1000, description="connections kept open; a start takes two at once"
    )
    database_max_overflow: int = Field(
        10,
        ge=0,
        le=1000,
        description="connections opened beyond these while all are in use; SQLite keeps them too",
    )
    database_pool_timeout_s: float = Field(
        30.0, ge=0.1, le=600, description="longest wait for a connection while none is free"
    )
    database_pool_recycle_s: int = Field(
        1800,
        ge=1,
        description="older connections are replaced; keep below the server's wait_timeout",
    )
    milvus_uri: Annotated[str, AfterValidator(check_uri)] | None = Field(
        None, description="Milvus file or http(s) address; default: a file in data_dir"
    )
    milvus_token: SecretStr = Field(SecretStr(""), description="user:password, or an API key")
    milvus_index_type: IndexType | None = Field(None, description="default: FLAT, HNSW on a server")
    milvus_index_params: JsonObject = Field(default_factory=dict)
    milvus_search_params: JsonObject = Field(default_factory=dict)
    milvus_replicas: int = Field(1, ge=1, le=100)
    milvus_shards: int = Field(1, ge=1, le=64)
    milvus_mmap: bool = False
    milvus_partition_key: PartitionKey | None = None
    milvus_consistency: Consistency = "Strong"
    images_url: Annotated[str, AfterValidator(check_url)] | None = Field(
        None, description="s3://BUCKET/PREFIX for pictures; default: a folder in data_dir"
    )
    images_endpoint: Annotated[str, AfterValidator(check_endpoint)] | None = Field(
        None, description="http(s) address of what speaks S3's protocol; default: AWS"
    )
    images_region: str | None = Field(None, description="default: AWS's own configuration")
    images_access_key_id: SecretStr = Field(
        SecretStr(""), description="empty: AWS's own chain of credentials"
    )
    images_secret_access_key: SecretStr = SecretStr("")
    api_url: str = Field(
        "http://127.0.0.1:8000", description="where the page and the commands reach the API"
    )
    api_public_url: str | None = Field(
        None, description="where visitors' browsers reach it, for pictures; default: api_url"
    )
    require_keys: bool = Field(
        False, description="the API lets nobody in without a key (manage keys create)"
    )
    api_key: SecretStr | None = Field(
        None, description="the key that the page and the commands show to the API"
    )
    allowed_hosts: HostPatterns = Field(
        (),
        description="names by which the API is reached, separated by commas; *.example.com: all "
        "below it. Addresses, localhost, the machine's name and api_url's always are",
    )
    cors_origins: PageOrigins = Field(
        (), description="of pages that may call the API, separated by commas"
    )
    rate_limit: str | None = Field(
        None,
        pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour)$",
        description="what a key or an address may ask for: 3000/minute are 300 searches; "
        "default: as much as it likes",
    )
    encoder: Literal["auto", "starter", "chinese-clip"] = Field(
        "auto", description="auto: Chinese-CLIP where its weights are on disk, else the starter"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    clip_model: str = Field(
        "AI-ModelScope/chinese-clip-vit-base-patch16", description="ModelScope id"
    )
    clip_revision: str = "master"
    clip_dir: Path | None = Field(None, description="folder of a Chinese-CLIP checkpoint")
    bge_model: str = Field("BAAI/bge-small-zh-v1.5", description="ModelScope id")
    bge_revision: str = "master"
    bge_dir: Path | None = Field(None, description="folder of a BGE checkpoint")
    generation_model: GenerationChoice = Field(
        "default", description="the text-to-image model: docs/decisions/0017-generation-model.md"
    )
    generation_revision: str = "master"
    generation_dir: Path | None = Field(None, description="folder of a diffusers pipeline")
    generation_offload: Literal["none", "model", "sequential"] = Field(
        "model", description="on CUDA: only the model, or the layer, at work is on the GPU"
    )
    generation_vae_tiling: bool = Field(False, description="pictures are decoded in parts")
    index_batch_size: int = Field(64, ge=1, le=1000, description="products indexed at once")
    index_in_process: bool = Field(
        True, description="the service indexes by itself; false: workers do, on a Milvus server"
    )
    index_lease_s: float = Field(
        60.0, ge=3, le=3600, description="after a worker's death its products wait this long"
    )
    index_max_attempts: int = Field(5, ge=1, le=100, description="failures until `failed`")
    index_retry_delay_s: float = Field(
        2.0, gt=0, le=3600, description="pause after the first failure; each next is twice as long"
    )
    outbox_max_depth: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="events of people's writes that wait until writes are refused (429), "
        "events of all kinds that wait until imports pause",
    )
    import_max_bytes: int = Field(
        2 * 1024**3, ge=1, description="largest upload of POST /product/import"
    )
    generation_in_process: bool = Field(
        True, description="the service takes generations; false: another one on its device does"
    )
    generation_max_queued: int = Field(
        8, ge=1, le=1000, description="generations that wait until POST /generate is refused (429)"
    )
    generation_idle_s: float = Field(
        300.0, gt=0, le=86_400, description="the model stays in memory so long without work"
    )
    generation_keep_days: float = Field(
        30.0, gt=0, le=3650, description="then a generation is dropped, its pictures orphans"
    )
    generation_label: bool = Field(True, description="generated pictures bear AI生成 in a corner")
    kafka_bootstrap_servers: str | None = Field(
        None, description="HOST:PORT,…: events go through Kafka; default: workers ask the database"
    )
    kafka_topic: str = Field(
        "product-index", pattern=r"^[A-Za-z0-9._-]{1,200}$", description="its dead letters: ….dead"
    )
    kafka_group: str = Field("product-index", min_length=1, max_length=200)
    kafka_options: JsonObject = Field(
        default_factory=dict, repr=False, description="librdkafka's, TLS and SASL among them"
    )
    kafka_republish_s: float = Field(
        300.0, ge=1, le=86_400, description="what is not indexed by then is published again"
    )
    synonyms_file: Path | None = Field(None, description="default: the one that ships")
    fetch_images: bool = Field(
        False, description="pictures that requests name by URL (image_url) are fetched"
    )
    fetch_hosts: Annotated[
        list[str], NoDecode, BeforeValidator(_between_commas), AfterValidator(_check_hosts)
    ] = Field(
        default_factory=list,
        description="NAME, *.NAME or NAME:PORT, …: only these are asked; default: all public ones",
    )
    popular_queries: bool = Field(
        True, description="queries are counted, by day and nothing else, and the popular suggested"
    )
    changes_kept: int = Field(
        1_000_000, ge=1000, description="records of GET /system/changes; older ones are dropped"
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+",
        description="http(s)://HOST:4318: traces go to this OpenTelemetry collector; default: none",
    )
    wait_timeout_s: float = Field(30.0, gt=0, description="longest wait of ?wait=true")

    @field_validator(
        "database_url", "milvus_token", "kafka_options", "images_secret_access_key", "api_key"
    )
    @classmethod
    def _refuse_placeholders(cls, value: Any) -> Any:
        """Refuse a password that an example has, and that everybody knows."""
        text = str(value.get_secret_value() if isinstance(value, SecretStr) else value)
        for placeholder in PLACEHOLDERS:
            if placeholder in text:
                raise ValueError(f"“{placeholder}”是示例里的占位，不是密码：请换成自己的密码")
        return value

    @property
    def sqlalchemy_url(self) -> str:
        """The relational store's URL."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'catalog.sqlite3'}"

    @property
    def milvus_path(self) -> Path:
        """Milvus Lite's file, for where `milvus_uri` names no server."""
        if self.milvus_uri is None or self.milvus_server is not None:
            return self.data_dir.resolve() / "milvus.db"
        return Path(self.milvus_uri).resolve()

    @property
    def milvus_server(self) -> str | None:
        """The address of the Milvus server; None where a file is used."""
        return self.milvus_uri if self.milvus_uri and "://" in self.milvus_uri else None

    @property
    def images_dir(self) -> Path:
        """The image store, or what is made of its images where `images_url` names a bucket."""
        return self.data_dir.resolve() / "images"

    @property
    def imports_dir(self) -> Path:
        """Uploaded import files, until they are imported."""
        return self.data_dir.resolve() / "imports"

    @property
    def previews_dir(self) -> Path:
        """Previews of generations that are under way."""
        return self.data_dir.resolve() / "previews"

    @property
    def downloaded_clip(self) -> Path:
        """Where `manage download-models` puts Chinese-CLIP."""
        return self.data_dir.resolve() / "models" / self.clip_model.replace("/", "--")

    @property
    def downloaded_bge(self) -> Path:
        """Where `manage download-models` puts BGE."""
        return self.data_dir.resolve() / "models" / self.bge_model.replace("/", "--")

    def downloaded_generation(self, choice: GenerationChoice) -> Path:
        """Return where `manage download-models --generation` puts this model."""
        name = GENERATION_MODELS[choice].model.replace("/", "--")
        return self.data_dir.resolve() / "models" / name

    @property
    def generation_folder(self) -> Path:
        """The text-to-image pipeline that is used, whether it is there or not."""
        return self.generation_dir or self.downloaded_generation(self.generation_model)

    @property
    def shipped_bge(self) -> Path:
        """The BGE that ships with the project."""
        return ROOT / "models" / "bge-small-zh-v1.5"

    @property
    def shipped_starter(self) -> Path:
        """The starter image encoder that ships with the project."""
        return ROOT / "models" / "starter"

    @property
    def calibrations_dir(self) -> Path:
        """Where `python -m product_search.evaluation.calibrate` puts what it has fitted."""
        return self.data_dir.resolve() / "calibration"

    @property
    def shipped_calibrations(self) -> Path:
        """What was fitted for the encoders that ship."""
        return ROOT / "models" / "calibration"

    @property
    def synonyms_path(self) -> Path:
        """The operator's synonyms, or those that ship."""
        return self.synonyms_file or ROOT / "product_search" / "text" / "synonyms.txt"
