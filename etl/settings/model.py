"""All settings with their defaults, what two of them say of each other, and derived values."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import ByteSize, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from etl.model.roles import Entry, parse_entries
from etl.settings.access import BucketRights, Keys, Origins, RateLimit, Tokens
from etl.settings.addresses import (
    BucketName,
    CollectorUrl,
    DaskAddress,
    Endpoint,
    SchemaName,
    SecretUrl,
    Url,
)
from etl.settings.queues import QueueUrl, TopicArns, VisibilityTimeout
from etl.settings.values import (
    Addressing,
    DebounceWindow,
    Duration,
    Encryption,
    Interval,
    Options,
    Retention,
    SecurityProtocol,
    SigningKey,
    Sizes,
    Timeout,
    listed,
)

DATASETS_FILE = Path("datasets.toml")


class Settings(BaseSettings):
    """All settings with their defaults.

    Without S3_ENDPOINT the embedded object store is used, without DATABASE_URL the embedded
    PostgreSQL. Both keep their data in LOCAL_DIR.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    s3_endpoint: Endpoint | None = Field(
        default=None, description="URL of the S3 endpoint; empty: embedded"
    )
    s3_access_key: str | None = Field(default=None, description="access key of the object store")
    s3_secret_key: SecretStr | None = Field(
        default=None, description="secret key of the object store"
    )
    s3_public_endpoint: Endpoint | None = Field(
        default=None, description="URL of the S3 endpoint for clients; empty: S3_ENDPOINT"
    )
    s3_region: str = Field(default="us-east-1", description="region for signing requests")
    s3_addressing: Addressing = Field(
        default="auto", description="how buckets are addressed: path, virtual or auto"
    )
    s3_sse: Encryption | None = Field(
        default=None, description="encryption of new objects: AES256, aws:kms or aws:kms:dsse"
    )
    s3_sse_kms_key_id: str | None = Field(
        default=None, description="key of S3_SSE=aws:kms; empty: the store's own"
    )
    s3_requester_pays: bool = Field(
        default=False, description="whether to pay for requests to others' buckets"
    )
    source_bucket: BucketName = Field(
        default="src-data", description="bucket with user CSVs and images"
    )
    processed_bucket: BucketName = Field(
        default="processed-data", description="bucket for output.csv"
    )
    thumbnail_bucket: BucketName = Field(default="thumbnails", description="bucket for thumbnails")
    document_bucket: BucketName = Field(
        default="analytics-data", description="bucket for JSON documents"
    )
    database_url: SecretStr | None = Field(
        default=None, description="postgresql://user:password@host:port/name; empty: embedded"
    )
    datasets_file: Path | None = Field(
        default=None, description="file that declares datasets; empty: datasets.toml, if it exists"
    )
    database_schema: SchemaName = Field(default="public", description="schema of the data tables")
    state_schema: SchemaName = Field(
        default="bucketline", description="schema of Bucketline's own tables"
    )
    etl_interval: Interval = Field(
        default=timedelta(minutes=25), description="time between scheduled runs"
    )
    event_gather: DebounceWindow = Field(
        default=timedelta(milliseconds=100), description="debounce window for events"
    )
    event_listen: bool = Field(
        default=False, description="whether the scheduler listens to the store for events"
    )
    event_arns: str = Field(
        default="", description="notification targets to subscribe, comma-separated"
    )
    webhook_token: Tokens | None = Field(
        default=None, description="token that POST /minio-event requires; several comma-separated"
    )
    sns_topic_arns: TopicArns = Field(
        default="",
        description="SNS topics that may subscribe POST /minio-event, comma-separated",
    )
    list_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="number of key ranges to list at once; by default more if the store is far",
    )
    fetch_concurrency: int = Field(
        default=256,
        ge=1,
        le=256,
        description="maximum objects to fetch at once; more, the farther away the store is",
    )
    dask_scheduler: DaskAddress | None = Field(
        default=None, description="address of a Dask scheduler, or local; empty: read in threads"
    )
    publish_interval: Duration = Field(
        default=timedelta(seconds=60),
        description="minimum interval between publishes triggered by event runs",
    )
    output_parquet: bool = Field(
        default=False, description="whether output.parquet is published in addition to output.csv"
    )
    problem_retention: Retention = Field(
        default=timedelta(days=90), description="how long closed problems are kept, or forever"
    )
    run_retention: Retention = Field(
        default=timedelta(days=90), description="how long runs are kept, or forever"
    )
    event_retention: Retention = Field(
        default=timedelta(days=30), description="how long handled events are kept, or forever"
    )
    retired_retention: Retention = Field(
        default=None, description="how long retired rows are kept; by default forever"
    )
    expanded_max_size: ByteSize = Field(
        default=ByteSize(100_000_000_000),
        ge=1,
        description="compressed files with more content are refused, such as 100GB",
    )
    thumbnail_sizes: Sizes = Field(
        default=(256, 64), description="longest sides of the thumbnails, in pixels"
    )
    image_max_bytes: ByteSize = Field(
        default=ByteSize(50_000_000),
        ge=1,
        description="larger images are not fetched, such as 50MB",
    )
    image_max_pixels: int = Field(
        default=50_000_000, ge=1, le=500_000_000, description="larger images are not decoded"
    )
    image_timeout: Timeout = Field(
        default=timedelta(seconds=10), description="maximum time to decode one image"
    )
    image_memory_mb: int = Field(
        default=1024,
        ge=256,
        description="maximum memory of a process that decodes images or checks a file, in MB",
    )
    api_host: str = Field(default="127.0.0.1", description="address the API listens on")
    api_port: int = Field(
        default=5000, ge=1, le=65535, description="port of the API; if not set, the next free one"
    )
    api_keys: Keys | None = Field(
        default=None, description="API keys: name:role:sha256, comma-separated"
    )
    api_keys_file: Path | None = Field(
        default=None, description="file with more keys, one per line; empty: LOCAL_DIR/api-keys"
    )
    api_open: bool = Field(default=False, description="without keys, serve other machines too")
    api_rate_limit: RateLimit | None = Field(
        default=None, description="requests per key, such as 600/m; empty: no limit"
    )
    cors_origins: Origins | None = Field(
        default=None, description="origins whose pages may use the API, comma-separated"
    )
    object_buckets: BucketRights | None = Field(
        default=None, description="buckets /objects may use, with rights, as src-data:rw,other:r"
    )
    object_max_size: ByteSize = Field(
        default=ByteSize(5 * 1024**3), description="largest upload through /objects, such as 5GiB"
    )
    document_max_size: ByteSize = Field(
        default=ByteSize(10_000_000), description="largest JSON document, such as 10MB"
    )
    check_max_size: ByteSize = Field(
        default=ByteSize(50_000_000),
        description="largest file that POST /check reads, such as 50MB",
    )
    check_timeout: Timeout = Field(
        default=timedelta(minutes=1), description="maximum time of POST /check for one file"
    )
    public_url: Url | None = Field(
        default=None, description="URL of the dashboard as browsers see it, for links in alerts"
    )
    alert_url: SecretUrl | None = Field(
        default=None, description="URL that alerts are posted to; empty: no alerts"
    )
    alert_secret: SigningKey | None = Field(
        default=None, description="key of the signature of alerts; empty: not signed"
    )
    alert_late_after: Interval | None = Field(
        default=None,
        description="time after which a full run or a change is late; empty: 3 * ETL_INTERVAL",
    )
    local_dir: Path = Field(default=Path(".local"), description="data of the embedded services")
    log_format: Literal["console", "json"] = Field(default="console", description="console or json")
    otel_exporter_otlp_endpoint: CollectorUrl | None = Field(
        default=None, description="URL that traces are sent to by OTLP over HTTP; empty: none are"
    )
    kafka_bootstrap_servers: str | None = Field(
        default=None, description="host:port of Kafka brokers, comma-separated"
    )
    kafka_topic: str = Field(
        default="bucket-events", description="topic with the store's notifications"
    )
    kafka_group: str = Field(default="bucketline", description="consumer group")
    kafka_dead_letter_topic: str | None = Field(
        default=None, description="topic for invalid messages; empty: table dead_letter"
    )
    kafka_image_topic: str | None = Field(
        default=None, description="topic for messages about images; empty: none are sent"
    )
    kafka_security_protocol: SecurityProtocol = Field(
        default="plaintext", description="plaintext, ssl, sasl_plaintext or sasl_ssl"
    )
    kafka_sasl_mechanism: str | None = Field(
        default=None, description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
    )
    kafka_sasl_username: str | None = Field(default=None, description="user name for SASL")
    kafka_sasl_password: SecretStr | None = Field(default=None, description="password for SASL")
    kafka_ssl_ca_location: str | None = Field(
        default=None, description="file with the CA of the brokers; empty: the system's"
    )
    kafka_options: Options = Field(
        default_factory=dict, description="additional options of librdkafka: name=value; name=value"
    )

    sqs_queue_url: QueueUrl | None = Field(
        default=None, description="URL of the SQS queue with the store's notifications"
    )
    sqs_visibility_timeout: VisibilityTimeout = Field(
        default=timedelta(minutes=1),
        description="time after which SQS delivers a message again that was not stored",
    )

    @field_validator("s3_sse_kms_key_id")
    @classmethod
    def _key_has_its_encryption(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not str(info.data.get("s3_sse")).startswith("aws:kms"):
            raise ValueError("it needs S3_SSE=aws:kms or aws:kms:dsse")
        return value

    @field_validator("processed_bucket", "thumbnail_bucket", "document_bucket")
    @classmethod
    def _buckets_differ(cls, value: str, info: ValidationInfo) -> str:
        for other in ("source_bucket", "processed_bucket", "thumbnail_bucket"):
            if other != info.field_name and value == info.data.get(other):
                raise ValueError(f"must not be the same bucket as {other.upper()}")
        return value

    @field_validator("state_schema")
    @classmethod
    def _schemas_differ(cls, value: str, info: ValidationInfo) -> str:
        if value == info.data.get("database_schema"):
            raise ValueError("must not be the same schema as DATABASE_SCHEMA")
        return value

    @field_validator("kafka_dead_letter_topic", "kafka_image_topic")
    @classmethod
    def _topics_differ(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value == info.data.get("kafka_topic"):
            raise ValueError("must not be KAFKA_TOPIC: messages sent would be consumed again")
        return value

    @property
    def is_api_port_set(self) -> bool:
        """Whether API_PORT was set to any value; then no other port is tried."""
        return "api_port" in self.model_fields_set

    @property
    def key_entries(self) -> tuple[Entry, ...]:
        """The keys of API_KEYS, without those of the key file."""
        return () if self.api_keys is None else parse_entries(self.api_keys.get_secret_value())

    @property
    def key_file(self) -> Path:
        """The file that `keys new` and `keys revoke` change."""
        return self.api_keys_file or self.local_dir / "api-keys"

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins of CORS_ORIGINS."""
        return frozenset(listed(self.cors_origins or ""))

    @property
    def object_rights(self) -> dict[str, str]:
        """The buckets that /objects may use, and `r` or `rw` for each.

        By default these are our own buckets; only the source bucket may be written.
        """
        if self.object_buckets is None:
            ours = dict.fromkeys(self.buckets, "r")
            return ours | {self.source_bucket: "rw"}
        entries = (entry.strip().partition(":") for entry in self.object_buckets.split(","))
        return {name: rights for name, _, rights in entries}

    @property
    def webhook_tokens(self) -> list[str]:
        """The tokens that POST /minio-event accepts; none when WEBHOOK_TOKEN is not set."""
        return listed(self.webhook_token.get_secret_value()) if self.webhook_token else []

    @property
    def late_after(self) -> timedelta:
        """ALERT_LATE_AFTER, or three intervals of ETL_INTERVAL, but no less than an hour."""
        return self.alert_late_after or max(3 * self.etl_interval, timedelta(hours=1))

    @property
    def arns(self) -> list[str]:
        """The notification targets in EVENT_ARNS."""
        return listed(self.event_arns)

    @property
    def sns_topics(self) -> list[str]:
        """The topics in SNS_TOPIC_ARNS."""
        return listed(self.sns_topic_arns)

    @property
    def buckets(self) -> tuple[str, ...]:
        """All buckets that Bucketline uses."""
        return (
            self.source_bucket,
            self.processed_bucket,
            self.thumbnail_bucket,
            self.document_bucket,
        )

    @property
    def datasets_path(self) -> Path | None:
        """The file that declares the datasets; None when only users is synced."""
        if self.datasets_file is not None:
            return self.datasets_file
        is_there = DATASETS_FILE.exists() or DATASETS_FILE.is_symlink()  # a broken link is a fault
        return DATASETS_FILE if is_there else None

    @property
    def embeds_object_store(self) -> bool:
        """Whether the embedded object store is used."""
        return self.s3_endpoint is None

    @property
    def embeds_database(self) -> bool:
        """Whether the embedded PostgreSQL is used."""
        return self.database_url is None

    @property
    def sqlalchemy_url(self) -> str:
        """DATABASE_URL with the driver for SQLAlchemy.

        Raises:  ConfigurationError when DATABASE_URL is missing or is not a PostgreSQL URL.
        """
        from etl.settings.database_url import for_sqlalchemy

        return for_sqlalchemy(self.database_url)
