"""Ends what killed writers left behind: objects, obstore's hidden unfinished files, multipart uploads."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podinsight.errors import Permanent, Transient

if TYPE_CHECKING:
    from podinsight.adapters.obstore_streams import Bucket

_log = logging.getLogger(__name__)
_told = threading.Event()


def sweep_files(root: Path, rest: str) -> int:
    """Deletes every file below `root` whose path from there begins with `rest`; returns how many there were.

    The local store names its unfinished files `name#12`, and `copy` does, so these begin with the same text. Symbolic
    links are taken for what they are: nothing outside is touched.

    Raises:
        OSError: one of them cannot be deleted.
    """
    folder, _, begin = rest.rpartition("/")
    found = 0
    for path in _files(root / folder, begin):
        path.unlink(missing_ok=True)
        found += 1
    return found


def _files(folder: Path, begin: str = "") -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if not entry.name.startswith(begin):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def abort_uploads(bucket: "Bucket", prefix: str) -> int:
    """Aborts the multipart uploads of a bucket whose object's path begins with `prefix`; returns how many.

    obstore shows no upload id, so this takes boto3 (extra `aws`). Without it nothing is done: the bucket's own
    lifecycle rule (AbortIncompleteMultipartUpload) is what clears them.

    Raises:
        Transient: the store does not answer, with `ours`.
        Permanent: it denies access.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        if not _told.is_set():
            _told.set()
            _log.warning("unfinished S3 uploads are left to the bucket's lifecycle rule: the extra `aws` ends them")
        return 0
    try:
        client = boto3.client(
            "s3",
            endpoint_url=bucket.s3.endpoint,
            region_name=bucket.s3.region,
            aws_access_key_id=bucket.s3.access_key_id,
            aws_secret_access_key=bucket.s3.secret_access_key,
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"max_attempts": 2},
                s3={"addressing_style": "path"} if bucket.s3.endpoint else {},
            ),
        )
        return sum(_abort(client, bucket.name, upload) for upload in _uploads(client, bucket.name, prefix))
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) in (401, 403, 404):
            raise Permanent(f"the object store denies its uploads of {bucket.name}: {code}") from error
        raise Transient(f"the object store cannot list its uploads of {bucket.name}: {code}", ours=True) from error
    except BotoCoreError as error:
        raise Transient(f"the object store does not answer for {bucket.name}: {error}", ours=True) from error


def _uploads(client: Any, bucket: str, prefix: str) -> list[dict[str, str]]:
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    # Not every S3 server filters by the prefix as it should.
    return [upload for page in pages for upload in page.get("Uploads", ()) if upload["Key"].startswith(prefix)]


def _abort(client: Any, bucket: str, upload: dict[str, str]) -> int:
    """1, also when its writer ended it meanwhile."""
    with suppress(client.exceptions.NoSuchUpload):
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    return 1
