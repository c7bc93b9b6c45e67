"""What obstore_objects is made of: places, obstore's errors in our words, and the two streams.

obstore is imported where it is used, because a child forked after its first use hangs.
"""

import errno
import io
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from podinsight.errors import Permanent, Refused, Transient
from podinsight.ports import ObjectWriter

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import WritableFile
    from obstore.store import LocalStore, MemoryStore, S3Store

    Backend = LocalStore | MemoryStore | S3Store

PART_BYTES: Final = 5 * 2**20  # S3 wants at least 5 MiB a part, and at most 10,000 parts: objects up to 50 GB
LOCAL_PART_BYTES: Final = 2**20
READ_BYTES: Final = 2**20
_HOPELESS: Final = frozenset(
    {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST}
)


@dataclass(frozen=True)
class S3Options:
    """How to reach S3. What is None comes from where AWS clients look (environment, instance profile)."""

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None


@dataclass(frozen=True)
class Bucket:
    """An S3 bucket by its name."""

    name: str
    s3: S3Options


@dataclass(frozen=True)
class Area:
    """One area: keys `<name>/<rest>` lie at `<prefix><rest>` of `store`; `root` is its folder, or `bucket` its bucket,
    when it has one."""

    name: str
    url: str
    store: "Backend"
    prefix: str
    root: Path | None
    bucket: Bucket | None = None

    @property
    def part_bytes(self) -> int:
        return PART_BYTES if self.bucket else LOCAL_PART_BYTES


@dataclass(frozen=True)
class Place:
    area: Area
    rest: str

    @property
    def path(self) -> str:
        return self.area.prefix + self.rest

    @property
    def file(self) -> Path | None:
        return None if self.area.root is None else self.area.root / self.rest


def check_key(key: str) -> None:
    """Refuses what is no key, by the rules of the ObjectStore port.

    A last component like `name#12` is refused as well: so the local store names its unfinished files, and never
    lists them.

    Raises:
        Refused: with the reason.
    """
    components = key.split("/")
    if any(part in ("", ".", "..") for part in components):
        raise Refused(f"not an object key: {key!r} (empty, absolute, or with an empty, . or .. component)")
    if any(unicodedata.category(character) in ("Cc", "Cs") or character == "\\" for character in key):
        raise Refused(f"not an object key: {key!r} (a backslash or a control character)")
    if re.search(r"#\d+\Z", components[-1]):
        raise Refused(f"not an object key: {key!r} (names ending in # and a number are kept for unfinished files)")


@contextmanager
def translated(key: str) -> Iterator[None]:
    """obstore's errors → podinsight.errors; only the first line of theirs, the rest is Rust's debug output."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise Permanent(f"the bucket of {key} does not exist") from error
        raise Permanent(f"no object {key}") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise Permanent(f"the object store denies access to {key}: {_first_line(error)}") from error
    except (exceptions.InvalidPathError, exceptions.NotSupportedError) as error:
        raise Permanent(f"the object store cannot hold {key}: {_first_line(error)}") from error
    except exceptions.PreconditionError as error:
        raise Transient(f"{key} was replaced while it was being read") from error
    except (exceptions.BaseError, OSError) as error:
        text = str(error)
        code = re.search(r"os error (\d+)", text)
        number = int(code[1]) if code else getattr(error, "errno", None)
        if number in _HOPELESS or re.search(r"status code: (403|404)", text):
            raise Permanent(f"the object store cannot do this with {key}: {_first_line(error)}") from error
        raise Transient(f"the object store does not answer for {key}: {_first_line(error)}", ours=True) from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:300]


class MultipartWriter:
    """A multipart upload (a temporary file on the local store), two parts of `Area.part_bytes` at a time."""

    def __init__(self, place: Place, key: str) -> None:
        self._place, self._key = place, key
        self._file: WritableFile | None = None

    def __enter__(self) -> ObjectWriter:
        import obstore

        self._file = obstore.open_writer(
            self._place.area.store, self._place.path, buffer_size=self._place.area.part_bytes, max_concurrency=2
        )
        return self

    def write(self, data: bytes) -> None:
        if self._file is None:
            raise ValueError("a writer is used inside its `with` block")
        # A part is cut where a write ends, so that one huge write would be one huge part.
        view, step = memoryview(data), self._place.area.part_bytes
        with translated(self._key):
            for begin in range(0, len(view), step):
                self._file.write(view[begin : begin + step])

    def __exit__(self, *exc: object) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        if exc[0] is None:
            with translated(self._key):
                file.close()
        else:
            # obstore aborts the upload here; if it cannot, what is going on matters more than that.
            with suppress(Exception):
                file.__exit__(*exc)


class RangeReader(io.RawIOBase):
    """Reads ranges of one version of an object: if it is replaced meanwhile, reading raises Transient."""

    def __init__(self, place: Place, key: str) -> None:
        import obstore

        self._place, self._key, self._at = place, key, 0
        with translated(key):
            meta = obstore.head(place.area.store, place.path)
        self._size, self._etag = int(meta["size"]), meta["e_tag"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "seek before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        import obstore

        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        with translated(self._key):
            answer = obstore.get(
                self._place.area.store, self._place.path, options={"range": (self._at, end), "if_match": self._etag}
            )
            data = answer.bytes()
        view[: len(data)] = memoryview(data)
        self._at += len(data)
        return len(data)


def copy_file(source: Path, target: Path) -> None:
    """A hard link under a name that is never listed, then a rename over `target`.

    obstore's own copy leaves such a name behind when the target is already a link to the source: rename does nothing
    then. Where the file system knows no links, the bytes are copied.
    """
    if source.is_dir():
        raise FileNotFoundError(errno.ENOENT, "is a folder", str(source))
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}#{secrets.randbelow(10**9)}")
    try:
        try:
            os.link(source, unfinished)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
