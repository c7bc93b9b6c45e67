"""One frozen Settings, and the only module that reads the environment. Environment beats file beats default.

In the environment a name is PODINSIGHT_ and the field's name; the file is `podinsight.toml` with the fields as keys.
"""

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from podinsight import topology
from podinsight.errors import ConfigError
from podinsight.settings_fetch import FetchSettings
from podinsight.settings_money import MoneySettings
from podinsight.settings_shown import shown
from podinsight.settings_sources import (
    CONFIG,
    PREFIX,
    Layer,
    celery_faults,
    config_path,
    default_state_dir,
    environment_layer,
    file_layer,
    use_aws_faults,
    variable,
)
from podinsight.settings_values import (
    AbsolutePath,
    Count,
    DatabaseUrl,
    FeedTextMap,
    GlueTableName,
    HttpUrl,
    Language,
    LogLevel,
    ObjectsUrl,
    Port,
    Positive,
    RedisUrl,
    Seconds,
    Usd,
)


class Settings(MoneySettings, FetchSettings):
    """Everything that can be set. Build it with `load`; built directly it reads neither environment nor file."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", protected_namespaces=())
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    state_dir: AbsolutePath = Field(
        default_factory=lambda: default_state_dir(os.environ),
        description="Folder of everything a machine keeps: database, objects, broker, logs, models.",
        json_schema_extra={"default": "`.podinsight` in the checkout, else `~/.local/share/podinsight`"},
    )
    database_url: DatabaseUrl = Field(
        default_factory=lambda data: f"sqlite:///{data['state_dir']}/podinsight.db",
        repr=False,
        description="SQLite file (`sqlite:////folder/name.db`) or PostgreSQL (`postgresql://user:password@host/name`).",
        json_schema_extra={"default": "`sqlite:///<state_dir>/podinsight.db`"},
    )
    broker_port: Port = Field(default=6390, description="Port on 127.0.0.1 of the Valkey that `podrun up` starts.")
    redis_url: RedisUrl = Field(
        default_factory=lambda data: f"redis://127.0.0.1:{data['broker_port']}/0",
        repr=False,
        description="Broker and host gate: Redis or Valkey (`redis://`, or `rediss://` for TLS).",
        json_schema_extra={"default": "`redis://127.0.0.1:<broker_port>/0`"},
    )
    flower_port: Port = Field(default=5555, description="Port on 127.0.0.1 of Flower.")

    objects_url: ObjectsUrl = Field(
        default_factory=lambda data: (data["state_dir"] / "objects").as_uri(),
        description="Where objects go: `file:///folder` or `s3://bucket[/prefix]`; each area is a folder in it.",
        json_schema_extra={"default": "`file://<state_dir>/objects`"},
    )
    raw_url: ObjectsUrl | None = Field(
        default=None, description="A place of its own for the area raw (audio, metadata)."
    )
    stage_url: ObjectsUrl | None = Field(
        default=None, description="A place of its own for the area stage (transcripts)."
    )
    manifests_url: ObjectsUrl | None = Field(default=None, description="A place of its own for the area manifests.")
    clips_url: ObjectsUrl | None = Field(default=None, description="A place of its own for the area clips.")
    backups_url: ObjectsUrl | None = Field(default=None, description="A place of its own for the area backups.")
    s3_endpoint: HttpUrl | None = Field(default=None, description="Address of an S3-compatible store; not set: AWS.")
    s3_region: str | None = Field(default=None, description="Region of the buckets.")
    s3_access_key_id: str | None = Field(
        default=None, description="S3 access key; not set: the client's own chain (profile, instance role …)."
    )
    s3_secret_access_key: SecretStr | None = Field(default=None, description="Secret of that access key.")
    glue_table: GlueTableName | None = Field(
        default=None,
        description="Table of the AWS Glue Data Catalog (`database.table`) in which segments are registered as "
        "transcripts land; not set: in none.",
    )

    model: str = Field(default="base", min_length=1, description="Whisper model of new transcriptions.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where speech is decoded; auto: CUDA if there."
    )
    compute_type: str = Field(
        default="auto",
        pattern=r"^(auto|default|int8|int16|float16|bfloat16|float32|int8_(float32|float16|bfloat16))$",
        description="CTranslate2 compute type, such as `int8` or `float16`; auto: what suits the device.",
    )
    model_dir: AbsolutePath | None = Field(default=None, description="Folder that holds models, looked in first.")
    model_cache_dir: AbsolutePath | None = Field(default=None, description="Folder for models that are downloaded.")
    cpu_threads: Count = Field(default=0, description="Threads of one decoding worker; 0: all cores.")
    language: Language | None = Field(default=None, description="Language of the speech (`en`); not set: detected.")
    smaller_models: bool = Field(
        default=False,
        description="Whether a device without enough memory may use a smaller model than asked for.",
    )

    chunk_seconds: float = Field(
        default=240,
        ge=20,
        le=3600,
        allow_inf_nan=False,
        description="Length to aim at when an episode is cut into chunks, which several workers may decode at a time.",
    )
    prompts: FeedTextMap = Field(
        default_factory=dict,
        description="What Whisper is told before it listens, by feed slug (`my-show=An interview with Ada Lovelace.`); "
        "texts with commas as a JSON object.",
    )
    hotwords: FeedTextMap = Field(
        default_factory=dict,
        description="Names and spellings to expect, by feed slug (`my-show=Lovelace Babbage`).",
    )
    approve_usd_per_run: Usd = Field(
        default=Decimal(0),
        description="Dollars of transcription that one command may spend without asking anybody, by the high figure of "
        "its quote; 0: every dollar needs a person.",
    )
    approve_usd_per_day: Usd = Field(
        default=Decimal(0), description="Dollars that may be approved in this way on one UTC day."
    )

    lease_seconds: Seconds = Field(default=90, description="How long a claim on work holds without being renewed.")
    renew_seconds: Seconds = Field(
        default=20, description="How often a claim is renewed; less than half of lease_seconds."
    )
    progress_seconds: Seconds = Field(
        default=600, description="A claim is not renewed after this long without progress."
    )
    dispatch_expiry_seconds: Seconds = Field(
        default=60, description="When a dispatched message that nobody took is void."
    )
    heartbeat_seconds: Seconds = Field(
        default=5, description="How often a worker says that it lives; less than half of worker_stale_seconds."
    )
    worker_stale_seconds: Seconds = Field(default=30, description="Silence after which a worker counts as dead.")
    stop_seconds: Seconds = Field(default=20, description="How long a worker may take to stop before it is killed.")
    spot_watch: bool = Field(
        default=False, description="Whether workers heed interruption notices of an EC2 Spot machine."
    )
    spot_url: HttpUrl = Field(
        default="http://169.254.169.254", description="The machine's metadata service, which gives those notices."
    )
    spot_poll_seconds: Seconds = Field(default=5, description="How often a worker looks for such a notice.")
    poll_every_seconds: Seconds = Field(default=60, description="How often beat looks for feeds that are due.")
    dispatch_every_seconds: Seconds = Field(default=5, description="How often beat dispatches waiting work.")
    reconcile_every_seconds: Seconds = Field(default=10, description="How often beat takes lost work back.")
    clean_every_seconds: Seconds = Field(
        default=300, description="How often beat sweeps what killed workers left in the object store."
    )
    register_every_seconds: Seconds = Field(
        default=60, description="How often beat registers what has landed in glue_table, if that is set."
    )
    feed_poll_seconds: Seconds = Field(
        default=3600, description="How often one feed is polled; a change holds from its next poll on."
    )

    fetch_workers: Count = Field(default=1, description="Fetch worker processes on this machine.")
    plan_workers: Count = Field(
        default=1, description="Worker processes on this machine that listen for speech and cut audio into chunks."
    )
    light_workers: Count = Field(
        default=1, description="Worker processes for dispatch, taking lost work back and the like on this machine."
    )
    guard_workers: Count = Field(
        default=1, description="Worker processes of the cost guard on this machine, which nothing else holds up."
    )
    fetch_slots: Positive = Field(default=topology.FETCH.slots, description="Fetches at a time in one fetch worker.")
    log_level: LogLevel = Field(default="INFO", description="Least severe level that is logged.")

    llm_api_key: SecretStr | None = Field(
        default=None, description="Key of the language model for notes. Nothing reads it yet."
    )
    llm_timeout_seconds: Seconds = Field(
        default=60, description="Longest wait for the language model. Nothing reads it yet."
    )
    llm_batch_size: Positive = Field(default=5, description="Notes in one request. Nothing reads it yet.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands in: it knows old names and unknown names, and remembers where a value came from."""
        return (init_settings,)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        less = (
            ("renew_seconds", "half of ", "lease_seconds"),
            ("renew_seconds", "", "progress_seconds"),
            ("heartbeat_seconds", "half of ", "worker_stale_seconds"),
            ("gate_renew_seconds", "half of ", "gate_lease_seconds"),
            ("connect_seconds", "", "fetch_seconds"),
            ("read_seconds", "", "fetch_seconds"),
        )
        faults = []
        for low, share, high in less:
            small, large = getattr(self, low), getattr(self, high)
            if small >= (large / 2 if share else large):
                faults.append(f"{low} ({small:g}) must be less than {share}{high} ({large:g})")
        if self.approve_usd_per_run > self.approve_usd_per_day:
            run, day = self.approve_usd_per_run, self.approve_usd_per_day
            faults.append(f"approve_usd_per_run ({run:g}) must not be more than approve_usd_per_day ({day:g})")
        if self.broker_port == self.flower_port:
            faults.append(f"broker_port and flower_port are both {self.broker_port}")
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            faults.append("s3_access_key_id and s3_secret_access_key go together: set both or neither")
        if self.glue_table is not None and not (stage := self.area_urls()["stage"]).startswith("s3://"):
            faults.append(f"glue_table needs the area stage on S3, which is all that Athena reads: it is {stage}")
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def area_urls(self) -> dict[str, str]:
        """Where each area of the object store lies, by its name in topology.AREAS."""
        return {area: getattr(self, f"{area}_url") or f"{self.objects_url}/{area}" for area in topology.AREAS}


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. `environ` stands in for the process's environment.

    The file is what PODINSIGHT_CONFIG names, else `<state_dir>/podinsight.toml` if that is there.

    Raises:
        ConfigError: unknown names, bad values, values that do not fit together: one line for each fault.
    """
    environ = os.environ if environ is None else environ
    names = Settings.model_fields
    given = environment_layer(environ, names)
    state_dir = default_state_dir(environ)
    path = config_path(environ, Path(str(given.values.get("state_dir", state_dir))).expanduser().absolute())
    layer = given.over(file_layer(path, names)) if path else given
    faults = layer.faults + use_aws_faults(environ, layer.values) + celery_faults(environ)
    settings = None
    try:
        settings = Settings.model_validate({"state_dir": state_dir, **layer.values})
    except ValidationError as error:
        faults += [line for fault in error.errors() for line in _explained(dict(fault), layer)]
    if faults or settings is None:
        raise ConfigError("\n".join(faults))
    settings._sources.update(dict.fromkeys(names, "default") | layer.sources)
    return settings


def _explained(fault: dict[str, Any], layer: Layer) -> list[str]:
    if fault["type"] == "default_factory_not_called":
        return []
    text = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    if not fault["loc"]:
        return text.splitlines()
    name = str(fault["loc"][0])
    source = layer.sources.get(name, "default").removeprefix("environment ")
    field = Settings.model_fields[name]
    value = "" if "Secret" in str(field.annotation) else f" = {shown(layer.values.get(name))}"
    where = source if source.startswith(PREFIX) else f"{name} from {source} ({variable(name)})"
    return [f"{where}{value}: {text}"]


class Effective(NamedTuple):
    """One setting as it is in force; `source` is "default", "file PATH" or "environment NAME"."""

    name: str
    value: str
    source: str
    description: str


def effective(settings: Settings) -> list[Effective]:
    """Every setting as it is in force, secrets and passwords masked."""
    areas = {f"{area}_url": url for area, url in settings.area_urls().items()}
    return [
        Effective(
            name,
            shown(areas.get(name, getattr(settings, name)), field.metadata),
            settings._sources.get(name, "argument" if name in settings.model_fields_set else "default"),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def settings_table() -> str:
    """Every setting with its default and its meaning as a Markdown table."""
    rows = ["| setting | environment | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        given = None if "default" in extra else field.get_default(call_default_factory=True, validated_data={})
        value = shown(given, field.metadata)
        default = str(extra.get("default", "")) or (f"`{value}`" if value else "")
        if name.removesuffix("_url") in topology.AREAS:
            default = f"`<objects_url>/{name.removesuffix('_url')}`"
        rows.append(f"| `{name}` | `{variable(name)}` | {default} | {field.description} |".replace("|  |", "| |"))
    return "\n".join(rows) + "\n"


__all__ = ["CONFIG", "Effective", "Settings", "default_state_dir", "effective", "load", "settings_table"]
