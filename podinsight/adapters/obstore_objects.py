"""The ObjectStore port on obstore: local folders, S3 and memory behind one code.

obstore starts threads of its own, and a child forked after that hangs: nothing here imports it before `open_objects`.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import unquote

from podinsight.adapters.obstore_streams import (
    PART_BYTES,
    READ_BYTES,
    Area,
    Bucket,
    MultipartWriter,
    Place,
    RangeReader,
    S3Options,
    check_key,
    copy_file,
    translated,
)
from podinsight.adapters.sweeping import abort_uploads, sweep_files
from podinsight.errors import ConfigError, Refused
from podinsight.ports import ObjectInfo, ObjectStore, ObjectWriter

if TYPE_CHECKING:
    from obstore.store import S3Store

    from podinsight.adapters.obstore_streams import Backend

__all__ = ["ObstoreObjects", "S3Options", "open_objects"]

DELETE_AT_ONCE: Final = 1000


def open_objects(areas: Mapping[str, str], s3: S3Options) -> ObjectStore:
    """The store of these areas.

    Args:
        areas: area name → URL of the area's own root: `file:///folder`, `s3://bucket[/prefix]`, or `memory:///`
            (lost with the process). The object `raw/a/b` lies at `<URL of raw>/a/b`.
        s3: for the `s3://` areas.

    Raises:
        ConfigError: a URL that is none of these, or a folder that cannot be made.
    """
    backends: dict[str, Backend] = {}
    return ObstoreObjects({name: _open_area(name, url.rstrip("/"), s3, backends) for name, url in areas.items()})


def _open_area(name: str, url: str, s3: S3Options, backends: "dict[str, Backend]") -> Area:
    from obstore.store import LocalStore, MemoryStore

    scheme, _, rest = url.partition(":")
    if scheme == "file":
        root = Path(unquote(rest.removeprefix("//").removeprefix("localhost")))
        if not root.is_absolute():
            raise ConfigError(f"area {name}: {url} is no absolute path: write file:///folder")
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"area {name}: cannot make the folder {root}: {error.strerror}") from error
        return Area(name, str(root), LocalStore(prefix=root), "", root)
    if scheme == "memory":
        return Area(name, f"memory:///{name}", backends.setdefault("memory", MemoryStore()), f"{name}/", None)
    bucket, _, prefix = rest.removeprefix("//").partition("/")
    if scheme != "s3" or not bucket:
        raise ConfigError(f"area {name}: {url!r} is no object store: write file:///folder or s3://bucket/prefix")
    if bucket not in backends:
        backends[bucket] = _open_bucket(bucket, s3)
    return Area(name, url, backends[bucket], f"{prefix}/" if prefix else "", None, Bucket(bucket, s3))


def _open_bucket(bucket: str, s3: S3Options) -> "S3Store":
    from obstore.store import S3Store

    given: dict[str, Any] = {
        "endpoint": s3.endpoint,
        "region": s3.region,
        "access_key_id": s3.access_key_id,
        "secret_access_key": s3.secret_access_key,
    }
    return S3Store(
        bucket,
        **{name: value for name, value in given.items() if value is not None},
        client_options={
            "allow_http": (s3.endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=60),
        },
        retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
    )


class ObstoreObjects:
    """See `open_objects` and ports.ObjectStore."""

    def __init__(self, areas: Mapping[str, Area]) -> None:
        self._areas = dict(areas)

    def put(self, key: str, data: bytes) -> None:
        import obstore

        place = self._place(key)
        with translated(key):
            obstore.put(place.area.store, place.path, data, chunk_size=PART_BYTES)

    def get(self, key: str) -> bytes:
        import obstore

        place = self._place(key)
        with translated(key):
            return bytes(obstore.get(place.area.store, place.path).bytes())

    def exists(self, key: str) -> bool:
        import obstore

        place = self._place(key)
        with translated(key), suppress(FileNotFoundError):
            obstore.head(place.area.store, place.path)
            return True
        return False

    def size(self, key: str) -> int:
        import obstore

        place = self._place(key)
        with translated(key):
            return int(obstore.head(place.area.store, place.path)["size"])

    def writer(self, key: str) -> ObjectWriter:
        return MultipartWriter(self._place(key), key)

    @contextmanager
    def reader(self, key: str) -> Iterator[BinaryIO]:
        place = self._place(key)
        if place.file is not None:
            # An open file keeps the object that it was opened on, whatever replaces its name.
            with translated(key):
                handle = place.file.open("rb")
            with handle:
                yield handle
            return
        with io.BufferedReader(RangeReader(place, key), READ_BYTES) as stream:
            yield stream

    def copy(self, source: str, target: str) -> None:
        import obstore

        here, there = self._place(source), self._place(target)
        if source == target:
            self.size(source)
        elif here.file is not None and there.file is not None:
            with translated(source):
                copy_file(here.file, there.file)
        elif here.area.store is there.area.store:
            with translated(source):
                obstore.copy(here.area.store, here.path, there.path)
        else:
            with self.reader(source) as stream, self.writer(target) as writer:
                while data := stream.read(PART_BYTES):
                    writer.write(data)

    def delete(self, keys: Iterable[str]) -> None:
        import obstore
        from obstore.store import S3Store

        places = [(key, self._place(key)) for key in keys]
        buckets: dict[int, list[tuple[str, Place]]] = {}
        for key, place in places:
            if isinstance(place.area.store, S3Store):
                buckets.setdefault(id(place.area.store), []).append((key, place))
            else:
                with translated(key), suppress(FileNotFoundError):
                    obstore.delete(place.area.store, place.path)
        for pairs in buckets.values():
            for begin in range(0, len(pairs), DELETE_AT_ONCE):
                batch = pairs[begin : begin + DELETE_AT_ONCE]
                with translated(batch[0][0]), suppress(FileNotFoundError):
                    obstore.delete(batch[0][1].area.store, [place.path for _, place in batch])

    def sweep(self, prefix: str) -> int:
        place = self._place(prefix.removesuffix("/"))
        rest = f"{place.path}/" if prefix.endswith("/") else place.path
        if place.area.root is not None:
            with translated(prefix):
                return sweep_files(place.area.root, rest)
        found = self._delete_below(place.area, rest)
        return found + (abort_uploads(place.area.bucket, rest) if place.area.bucket else 0)

    def _delete_below(self, area: Area, begin: str) -> int:
        import obstore

        folder = begin.rpartition("/")[0]
        with translated(f"{area.name}/{begin.removeprefix(area.prefix)}"):
            pages = obstore.list(area.store, folder or None, chunk_size=DELETE_AT_ONCE)
            paths = [meta["path"] for page in pages for meta in page if meta["path"].startswith(begin)]
        self.delete(f"{area.name}/{path.removeprefix(area.prefix)}" for path in paths)
        return len(paths)

    def folders(self, prefix: str) -> Sequence[str]:
        import obstore

        place = self._place(prefix, whole_area=True)
        with translated(prefix):
            found = obstore.list_with_delimiter(place.area.store, place.path.rstrip("/") or None)
        return sorted(path.rpartition("/")[2] for path in found["common_prefixes"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        import obstore

        place = self._place(prefix, whole_area=True)
        found: list[ObjectInfo] = []
        with translated(prefix):
            for page in obstore.list(place.area.store, place.path.rstrip("/") or None, chunk_size=1000):
                for meta in page:
                    key = f"{place.area.name}/{meta['path'].removeprefix(place.area.prefix)}"
                    found.append(ObjectInfo(key, int(meta["size"]), meta["last_modified"].timestamp()))
        # Neither a folder nor every S3 server lists in the order of keys.
        return iter(sorted(found, key=lambda info: info.key))

    def where(self, key: str) -> str:
        place = self._place(key)
        return f"{place.area.url}/{place.rest}"

    def _place(self, key: str, whole_area: bool = False) -> Place:
        check_key(key)
        name, _, rest = key.partition("/")
        if name not in self._areas:
            raise Refused(f"unknown area {name!r} in the key {key!r}: there are {', '.join(self._areas)}")
        if not rest and not whole_area:
            raise Refused(f"not an object key: {key!r} names a whole area")
        return Place(self._areas[name], rest)
