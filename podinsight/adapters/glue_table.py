"""The table of all segments in the AWS Glue Data Catalog, which Athena reads (boto3, extra `aws`)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

from podinsight.domain.redaction import redact_text
from podinsight.domain.table import MOST_PARTITIONS, PARTITION_KEYS, Partition
from podinsight.errors import ConfigError, Permanent, PodinsightError, Unavailable

_ALREADY: Final = "AlreadyExistsException"
_MAY_PASS: Final = (
    "Throttl", "TooManyRequests", "RequestLimitExceeded", "OperationTimeout", "InternalService",
    "ConcurrentModification", "ResourceNotReady",
)  # fmt: skip  # how such codes begin, whatever the HTTP status that they come with
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 3, 10, 3  # a catalogue that is away holds a worker for half a minute


class GlueTable:
    """ports.SegmentTable.

    Who asks, and at which endpoint, is as everywhere with boto3 (AWS_PROFILE, AWS_ENDPOINT_URL, an instance's role …).
    `region` is for where boto3 knows none. Nothing is imported or opened before the first use.
    """

    def __init__(self, database: str, table: str, region: str | None = None) -> None:
        self._database, self._table, self._region = database, table, region

    @property
    def name(self) -> str:
        return f"{self._database}.{self._table}"

    def register(self, partitions: Sequence[Partition]) -> Mapping[Partition, str]:
        refused: dict[Partition, str] = {}
        if partitions:
            with self._translated():
                storage = self._storage()
                for start in range(0, len(partitions), MOST_PARTITIONS):
                    refused |= self._create(storage, partitions[start : start + MOST_PARTITIONS])
        return refused

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        session = boto3.session.Session()
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        return session.client("glue", region_name=session.region_name or self._region, config=config)

    def _storage(self) -> dict[str, Any]:
        """What a partition has in common with its table: columns, formats, SerDe.

        A partition does not inherit them: one without reads as nothing (StorageDescriptor, Glue's API reference).
        """
        table = self._client.get_table(DatabaseName=self._database, Name=self._table)["Table"]
        keys = tuple(key["Name"] for key in table.get("PartitionKeys", ()))
        if keys != PARTITION_KEYS:
            ours, theirs = ", ".join(PARTITION_KEYS), ", ".join(keys) or "nothing"
            raise ConfigError(f"the table {self.name} is partitioned by {theirs}, not by {ours}: {self._advice}")
        return {name: value for name, value in table["StorageDescriptor"].items() if name != "AdditionalLocations"}

    def _create(self, storage: dict[str, Any], partitions: Sequence[Partition]) -> dict[Partition, str]:
        by_values = {(each.feed_slug, each.guid): each for each in partitions}
        answer = self._client.batch_create_partition(
            DatabaseName=self._database,
            TableName=self._table,
            PartitionInputList=[
                {"Values": list(values), "StorageDescriptor": storage | {"Location": each.folder}}
                for values, each in by_values.items()
            ],
        )
        refused = {}
        for error in answer.get("Errors") or ():
            detail = error.get("ErrorDetail", {})
            if detail.get("ErrorCode") != _ALREADY:
                refused[by_values[tuple(error["PartitionValues"])]] = _text(detail, "ErrorCode", "ErrorMessage")
        return refused

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            import boto3  # noqa: F401
            from botocore import exceptions as aws
        except ImportError:
            raise ConfigError(f"registering in {self.name} needs boto3: install podinsight[aws]") from None
        try:
            yield
        except aws.ClientError as error:
            raise self._said(error.response) from error
        except (aws.NoRegionError, aws.NoCredentialsError, aws.PartialCredentialsError, aws.ProfileNotFound) as error:
            raise ConfigError(f"Glue cannot be asked about {self.name}: {_first_line(error)}") from error
        except aws.BotoCoreError as error:
            raise Unavailable(f"Glue does not answer for {self.name}: {_first_line(error)}") from error
        except ValueError as error:  # an endpoint that is no URL, a location that is not on S3
            raise ConfigError(f"Glue cannot be asked about {self.name}: {_first_line(error)}") from error

    def _said(self, response: Mapping[str, Any]) -> PodinsightError:
        error = response.get("Error", {})
        code = str(error.get("Code", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
        if code == "EntityNotFoundException":
            return ConfigError(f"there is no table {self.name} in Glue: {self._advice}")
        if status >= 500 or code.startswith(_MAY_PASS):
            return Unavailable(f"Glue has no answer for {self.name} now: {_text(error, 'Code', 'Message')}")
        return Permanent(f"Glue denies what is asked of {self.name}: {_text(error, 'Code', 'Message')}")

    @property
    def _advice(self) -> str:
        words = f"podrun table ddl --database {self._database} --table {self._table}"
        return f"make it first, with the statement that `{words}` prints"


def _text(error: Mapping[str, Any], code: str, message: str) -> str:
    return f"{error.get(code, 'unknown')}: {_first_line(error.get(message, ''))}".rstrip(": ")


def _first_line(text: object) -> str:
    return redact_text(str(text).strip().partition("\n")[0])
