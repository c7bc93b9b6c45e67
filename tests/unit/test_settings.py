from pathlib import Path

import pytest
from pydantic import ValidationError

from podinsight import __version__, topology
from podinsight.domain.budget import Level, Scope
from podinsight.errors import ConfigError
from podinsight.settings import Settings, effective, load
from podinsight.settings_sources import default_state_dir

CHECKOUT = Path(__file__).resolve().parents[2]


def environment(tmp_path: Path, **names: str) -> dict[str, str]:
    return {"PODINSIGHT_STATE_DIR": str(tmp_path), **names}


def faults(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environ)
    return str(caught.value).splitlines()


def row(settings: Settings, name: str) -> tuple[str, str]:
    found = {name: (value, source) for name, value, source, _ in effective(settings)}
    return found[name]


def test_defaults_need_no_environment() -> None:
    settings = load({})
    assert settings.state_dir == CHECKOUT / ".podinsight"
    assert settings.database_url == f"sqlite:///{CHECKOUT}/.podinsight/podinsight.db"
    assert settings.redis_url == "redis://127.0.0.1:6390/0"
    assert settings.host_limits == topology.DEFAULT_HOST_LIMITS
    assert settings.max_audio_bytes == 4 * 2**30
    assert {source for _, _, source, _ in effective(settings)} == {"default"}


def test_an_installed_package_keeps_its_state_with_the_users_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podinsight.settings_sources._CHECKOUT", tmp_path)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_state_dir({}) == Path("/home/somebody/.local/share/podinsight")
    assert default_state_dir({"XDG_DATA_HOME": "/data"}) == Path("/data/podinsight")
    assert default_state_dir({"XDG_DATA_HOME": "relative"}) == Path("/home/somebody/.local/share/podinsight")


def test_what_lies_in_the_state_folder_follows_it(tmp_path: Path) -> None:
    settings = load(environment(tmp_path, PODINSIGHT_BROKER_PORT="7000"))
    assert settings.database_url == f"sqlite:///{tmp_path}/podinsight.db"
    assert settings.objects_url == f"file://{tmp_path}/objects"
    assert settings.redis_url == "redis://127.0.0.1:7000/0"


def test_the_state_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load({"PODINSIGHT_STATE_DIR": "state"}).state_dir == tmp_path / "state"
    assert load({"PODINSIGHT_STATE_DIR": "~/state"}).state_dir == Path("/home/somebody/state")


def test_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "podinsight.toml"
    file.write_text('model = "small"\nlog_level = "debug"\n', "utf-8")
    settings = load(environment(tmp_path, PODINSIGHT_MODEL="tiny.en"))
    assert row(settings, "model") == ("tiny.en", "environment PODINSIGHT_MODEL")
    assert row(settings, "log_level") == ("DEBUG", f"file {file}")
    assert row(settings, "device") == ("auto", "default")


def test_an_empty_name_counts_as_not_set(tmp_path: Path) -> None:
    assert load(environment(tmp_path, PODINSIGHT_MODEL="", DATABASE_URL=" ")).model == "base"


def test_the_process_environment_is_read_when_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODINSIGHT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("PODINSIGHT_MODEL", "small")
    assert load().model == "small"
    assert Settings(state_dir=tmp_path).model == "base"


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = load(environment(tmp_path))
    with pytest.raises(ValidationError):
        settings.model = "large"


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    named = tmp_path / "elsewhere.toml"
    assert faults(environment(tmp_path, PODINSIGHT_CONFIG=str(named))) == [
        f"PODINSIGHT_CONFIG={named}: there is no such file"
    ]
    assert faults(environment(tmp_path, PODINSIGHT_CONFIG=str(tmp_path))) == [
        f"PODINSIGHT_CONFIG={tmp_path}: is a folder, not a file"
    ]
    named.write_text('state_dir = "state"\nmodel_dir = "/models"\n[host_limits]\n"a.org" = 2\n', "utf-8")
    settings = load({"PODINSIGHT_CONFIG": str(named)})
    assert settings.state_dir == tmp_path / "state"
    assert settings.model_dir == Path("/models")
    assert settings.host_limits["a.org"] == 2


@pytest.mark.parametrize("content", [b"model = ", b'model = "\xff"'])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "podinsight.toml").write_bytes(content)
    (line,) = faults(environment(tmp_path))
    assert line.startswith(f"{tmp_path / 'podinsight.toml'}: cannot be read as TOML")


def test_every_fault_has_its_line_and_unknown_names_their_closest(tmp_path: Path) -> None:
    (tmp_path / "podinsight.toml").write_text('modell = "x"\ncpu_threads = -1\n', "utf-8")
    lines = faults(environment(tmp_path, PODINSIGHT_LEASE_SECOND="9", PODINSIGHT_DEVICE="gpu", podinsight_confg="x"))
    assert lines[:3] == [
        "PODINSIGHT_LEASE_SECOND is unknown; the closest known name is PODINSIGHT_LEASE_SECONDS",
        "podinsight_confg is unknown; the closest known name is PODINSIGHT_CONFIG",
        f"modell in {tmp_path / 'podinsight.toml'} is unknown; the closest known name is model",
    ]
    assert sorted(line.split(" = ")[0] for line in lines[3:]) == [
        "PODINSIGHT_DEVICE",
        f"cpu_threads from file {tmp_path / 'podinsight.toml'} (PODINSIGHT_CPU_THREADS)",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_SECONDS", "soon"),
        ("LEASE_SECONDS", "0"),
        ("LEASE_SECONDS", "inf"),
        ("BROKER_PORT", "70000"),
        ("DEVICE", "tpu"),
        ("COMPUTE_TYPE", "int4"),
        ("LOG_LEVEL", "LOUD"),
        ("LANGUAGE", "english"),
        ("MAX_FEED_BYTES", "many"),
        ("DATABASE_URL", "podinsight.db"),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "postgresql+asyncpg://host/db"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("REDIS_URL", "http://host"),
        ("REDIS_URL", "redis://host:port/0"),
        ("OBJECTS_URL", "gs://bucket"),
        ("OBJECTS_URL", "file://folder"),
        ("OBJECTS_URL", "s3:///prefix"),
        ("RAW_URL", "s3://key:secret@bucket"),
        ("S3_ENDPOINT", "host:8333"),
        ("HOST_LIMITS", "megaphone.fm"),
        ("HOST_LIMITS", "megaphone.fm=0"),
        ("HOST_LIMITS", '{"megaphone.fm": true}'),
        ("PROMPTS", "my-show=With Ada, and Charles"),
        ("PROMPTS", "With Ada"),
        ("HOTWORDS", "my-show="),
        ("HOTWORDS", "=Ada"),
        ("APPROVE_USD_PER_DAY", "-1"),
        ("APPROVE_USD_PER_DAY", "inf"),
        ("ALLOWED_HOSTS", "http://intranet"),
        ("ALLOWED_HOSTS", "[1]"),
        ("CONTACT", "me\nX-Evil: yes"),
        ("CONTACT", "(me)"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(tmp_path: Path, name: str, value: str) -> None:
    (line,) = [line for line in faults(environment(tmp_path, **{f"PODINSIGHT_{name}": value})) if line[0] != "X"]
    assert line.startswith(f"PODINSIGHT_{name} = ")
    assert "pydantic" not in line


def test_mongodb_is_refused_without_its_password(tmp_path: Path) -> None:
    (line,) = faults(environment(tmp_path, DATABASE_URL="mongodb://me:hunter2@host/db"))
    assert "DATABASE_URL" in line
    assert "the database is SQLite or PostgreSQL, not MongoDB" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://me:pw@host/db", "postgresql+psycopg://me:pw@host/db"),
        ("postgresql://host/db?sslmode=require", "postgresql+psycopg://host/db?sslmode=require"),
        ("postgresql+psycopg://host/db", "postgresql+psycopg://host/db"),
        ("sqlite:////data/x.db", "sqlite:////data/x.db"),
        ("sqlite+pysqlite:////data/x.db?timeout=9", "sqlite:////data/x.db?timeout=9"),
    ],
)
def test_database_urls(tmp_path: Path, given: str, used: str) -> None:
    assert load(environment(tmp_path, PODINSIGHT_DATABASE_URL=given)).database_url == used


def test_a_relative_sqlite_file_does_not_depend_on_where_a_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(environment(tmp_path, PODINSIGHT_DATABASE_URL="sqlite:///x.db"))
    assert settings.database_url == f"sqlite:///{tmp_path}/x.db"


def test_areas_have_places_of_their_own_or_a_folder(tmp_path: Path) -> None:
    settings = load(environment(tmp_path, PODINSIGHT_OBJECTS_URL="s3://all/", PODINSIGHT_CLIPS_URL="s3://clips/x"))
    assert settings.area_urls() == {
        **{area: f"s3://all/{area}" for area in topology.AREAS},
        "clips": "s3://clips/x",
    }
    assert row(settings, "raw_url") == ("s3://all/raw", "default")


@pytest.mark.parametrize("value", ["Megaphone.fm=2, a.org=7", '{"megaphone.fm": 2, "a.org": 7}'])
def test_host_limits_are_added_to_the_defaults(tmp_path: Path, value: str) -> None:
    limits = load(environment(tmp_path, PODINSIGHT_HOST_LIMITS=value)).host_limits
    assert limits == {**topology.DEFAULT_HOST_LIMITS, "megaphone.fm": 2, "a.org": 7}


@pytest.mark.parametrize("value", ["my-show=Ada = A., other= B", '{"my-show": "Ada = A.", "other": " B"}'])
def test_texts_by_feed(tmp_path: Path, value: str) -> None:
    assert load(environment(tmp_path, PODINSIGHT_PROMPTS=value)).prompts == {"my-show": "Ada = A.", "other": "B"}


def test_texts_are_shown_as_they_can_be_written(tmp_path: Path) -> None:
    settings = load(environment(tmp_path, PODINSIGHT_PROMPTS='{"a": "Ada, Zoë"}', PODINSIGHT_HOTWORDS="a=b,c=d"))
    assert row(settings, "prompts")[0] == '{"a": "Ada, Zoë"}'
    assert row(settings, "hotwords")[0] == "a=b,c=d"


@pytest.mark.parametrize("value", ["none", " None "])
def test_a_level_that_is_off_is_said_as_it_is_written(tmp_path: Path, value: str) -> None:
    """G3: nothing is told, nothing is stopped, and nobody has to guess what a blank means."""
    scopes = ("item", "day", "gpu_day", "month", "project")
    names = [f"{kind}_{scope}_usd" for kind in ("alert", "stop") for scope in scopes]
    settings = load(environment(tmp_path, **{f"PODINSIGHT_{name.upper()}": value for name in names}))
    assert [row(settings, name)[0] for name in names] == ["none"] * len(names)
    assert all(settings.limits().level(scope) == Level() for scope in Scope if scope is not Scope.RUN)
    assert row(settings, "prices_file") == ("", "default"), "what is not set and no level stays blank"


def test_levels_may_be_off_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "podinsight.toml").write_text('alert_item_usd = []\nalert_day_usd = "none"\n', "utf-8")
    settings = load(environment(tmp_path))
    assert (settings.alert_item_usd, settings.alert_day_usd) == ((), ())
    assert row(settings, "alert_day_usd")[0] == "none"


@pytest.mark.parametrize("value", ["127.0.0.1, Intranet.,::1,", '["127.0.0.1", "intranet", "::1"]'])
def test_allowed_hosts(tmp_path: Path, value: str) -> None:
    settings = load(environment(tmp_path, PODINSIGHT_ALLOWED_HOSTS=value))
    assert settings.allowed_hosts == ("127.0.0.1", "intranet", "::1")


def test_sizes_may_have_units(tmp_path: Path) -> None:
    settings = load(environment(tmp_path, PODINSIGHT_MAX_AUDIO_BYTES="512MiB"))
    assert settings.max_audio_bytes == 512 * 2**20
    assert row(settings, "max_audio_bytes")[0] == "512 MiB"


def test_the_user_agent_names_a_contact_if_there_is_one(tmp_path: Path) -> None:
    assert load(environment(tmp_path)).user_agent == f"PodInsight/{__version__}"
    contact = load(environment(tmp_path, PODINSIGHT_CONTACT="mailto:me@example.org"))
    assert contact.user_agent == f"PodInsight/{__version__} (+mailto:me@example.org)"


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ({"RENEW_SECONDS": "45"}, "renew_seconds (45) must be less than half of lease_seconds (90)"),
        ({"PROGRESS_SECONDS": "20"}, "renew_seconds (20) must be less than progress_seconds (20)"),
        ({"HEARTBEAT_SECONDS": "15"}, "heartbeat_seconds (15) must be less than half of worker_stale_seconds (30)"),
        ({"CONNECT_SECONDS": "900"}, "connect_seconds (900) must be less than fetch_seconds (900)"),
        ({"READ_SECONDS": "901"}, "read_seconds (901) must be less than fetch_seconds (900)"),
        ({"FLOWER_PORT": "6390"}, "broker_port and flower_port are both 6390"),
        ({"S3_ACCESS_KEY_ID": "k"}, "s3_access_key_id and s3_secret_access_key go together: set both or neither"),
        (
            {"GLUE_TABLE": "shows.t", "OBJECTS_URL": "s3://b", "STAGE_URL": "file:///x"},
            "glue_table needs the area stage on S3, which is all that Athena reads: it is file:///x",
        ),
    ],
)
def test_values_that_do_not_fit_together(tmp_path: Path, names: dict[str, str], fault: str) -> None:
    environ = environment(tmp_path, **{f"PODINSIGHT_{name}": value for name, value in names.items()})
    assert faults(environ) == [fault]


def test_old_names_are_read(tmp_path: Path) -> None:
    settings = load(
        environment(
            tmp_path,
            DATABASE_URL="postgres://host/db",
            REDIS_HOST="broker",
            WHISPER_DEVICE="cpu",
            WHISPER_CACHE_DIR="/models",
            OPENAI_API_KEY="sk-1",
            LLM_BATCH_SIZE="3",
            LLM_TIMEOUT="7",
            S3_SOURCE_BUCKET="pod-insights-raw",
            S3_CLIPS_BUCKET="pod-insights-clips",
            AWS_REGION="eu-west-1",
            USE_AWS="false",
        )
    )
    assert settings.database_url == "postgresql+psycopg://host/db"
    assert settings.redis_url == "redis://broker:6379/0"
    assert settings.device == "cpu"
    assert settings.model_cache_dir == Path("/models")
    assert settings.llm_api_key is not None
    assert settings.llm_api_key.get_secret_value() == "sk-1"
    assert (settings.llm_batch_size, settings.llm_timeout_seconds) == (3, 7.0)
    assert settings.area_urls()["raw"] == "s3://pod-insights-raw"
    assert settings.area_urls()["clips"] == "s3://pod-insights-clips"
    assert settings.s3_region == "eu-west-1"
    assert row(settings, "redis_url")[1] == "environment REDIS_HOST"


@pytest.mark.parametrize("port", ["6380", "tcp://10.0.0.1:6380"])
def test_an_old_redis_port_counts_with_its_host_only(tmp_path: Path, port: str) -> None:
    with_host = load(environment(tmp_path, REDIS_HOST="broker", REDIS_PORT=port))
    assert with_host.redis_url == "redis://broker:6380/0"
    assert load(environment(tmp_path, REDIS_PORT=port)).redis_url == "redis://127.0.0.1:6390/0"


def test_the_new_name_beats_the_old_and_the_old_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "podinsight.toml").write_text('device = "auto"\n', "utf-8")
    assert load(environment(tmp_path, WHISPER_DEVICE="cpu")).device == "cpu"
    both = load(environment(tmp_path, WHISPER_DEVICE="nonsense", PODINSIGHT_DEVICE="cuda"))
    assert row(both, "device") == ("cuda", "environment PODINSIGHT_DEVICE")


def test_a_bad_value_of_an_old_name_names_both(tmp_path: Path) -> None:
    (line,) = faults(environment(tmp_path, WHISPER_DEVICE="gpu"))
    assert line.startswith("device from WHISPER_DEVICE (PODINSIGHT_DEVICE) = gpu: should be 'auto', 'cpu' or 'cuda'")


@pytest.mark.parametrize("value", ["true", "1", "YES"])
def test_use_aws_is_refused_unless_the_objects_have_their_url(tmp_path: Path, value: str) -> None:
    assert faults(environment(tmp_path, USE_AWS=value)) == ["USE_AWS is gone: write PODINSIGHT_OBJECTS_URL=s3://BUCKET"]
    settings = load(environment(tmp_path, USE_AWS=value, PODINSIGHT_OBJECTS_URL="s3://mine"))
    assert settings.objects_url == "s3://mine"


def test_secrets_and_passwords_are_shown_nowhere(tmp_path: Path) -> None:
    secret = "hunter2"
    settings = load(
        environment(
            tmp_path,
            PODINSIGHT_DATABASE_URL=f"postgresql://me:{secret}@host/db?password={secret}",
            PODINSIGHT_REDIS_URL=f"rediss://:{secret}@host:6379/0",
            PODINSIGHT_S3_ACCESS_KEY_ID="key",
            PODINSIGHT_S3_SECRET_ACCESS_KEY=secret,
            OPENAI_API_KEY=secret,
        )
    )
    assert secret in settings.database_url
    assert secret in settings.redis_url
    shown = effective(settings)
    assert secret not in repr(shown) + repr(settings) + str(settings)
    assert row(settings, "database_url")[0] == "postgresql+psycopg://me:****@host/db?password=****"
    assert row(settings, "redis_url")[0] == "rediss://:****@host:6379/0"
    assert row(settings, "s3_secret_access_key")[0] == "****"


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, _, _, description in effective(load({})) if not description.endswith(".")] == []


def test_topology_and_settings_agree() -> None:
    fields = Settings.model_fields
    assert [area for area in topology.AREAS if f"{area}_url" not in fields] == []
    assert [entry.every for entry in topology.PERIODIC if entry.every not in fields] == []
    assert [f"{queue}_workers" for queue in topology.QUEUES if f"{queue}_workers" not in fields] == []


def test_celerys_own_door_to_the_broker_is_shut(tmp_path: Path) -> None:
    (fault,) = faults(environment(tmp_path, CELERY_BROKER_URL="redis://elsewhere:6379/0"))
    assert "CELERY_BROKER_URL" in fault
    assert "PODINSIGHT_REDIS_URL" in fault


@pytest.mark.parametrize("name", ["segments", "shows.", ".t", "Shows.t", "a.b.c", "shows.t; DROP", "arn:aws:glue:x.t"])
def test_a_table_is_named_with_its_database(tmp_path: Path, name: str) -> None:
    """T10."""
    (fault,) = faults(environment(tmp_path, PODINSIGHT_OBJECTS_URL="s3://b", PODINSIGHT_GLUE_TABLE=name))
    assert "PODINSIGHT_GLUE_TABLE" in fault


def test_segments_are_registered_nowhere_unless_a_table_is_set(tmp_path: Path) -> None:
    """T10."""
    assert load(environment(tmp_path)).glue_table is None
    names = environment(tmp_path, PODINSIGHT_OBJECTS_URL="s3://b", PODINSIGHT_GLUE_TABLE="shows.segments")
    assert load(names).glue_table == "shows.segments"
