"""The ObjectStore port's contract on every adapter; memory, which needs nothing, runs first."""

import io
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podinsight.adapters import sweeping
from podinsight.adapters.obstore_objects import S3Options, open_objects
from podinsight.errors import ConfigError, Permanent, Refused, Transient
from podinsight.ports import ObjectStore
from tests.support.seaweed import Seaweed, free_ports

BIG = 20 * 2**20 + 17


@pytest.fixture(params=["memory", "folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    """A store with the areas raw and stage; on S3 both are prefixes of one bucket."""
    if request.param == "memory":
        yield open_objects({"raw": "memory:///", "stage": "memory:///"}, S3Options())
    elif request.param == "folder":
        root = tmp_path / "ob jects#1 %é"
        yield open_objects({"raw": (root / "raw").as_uri(), "stage": (root / "stage").as_uri()}, S3Options())
    else:
        server: Seaweed = request.getfixturevalue("seaweed_server")
        base = f"s3://{server.bucket}/{tmp_path.name}"
        yield open_objects({"raw": f"{base}/raw", "stage": f"{base}/stage/"}, options(server))


def options(server: Seaweed) -> S3Options:
    return S3Options(server.endpoint, server.region, server.access_key_id, server.secret_access_key)


def keys(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


class Boom(Exception):
    pass


def write_and_fail(store: ObjectStore, key: str, size: int, look: Callable[[], None] = lambda: None) -> None:
    with store.writer(key) as writer:
        writer.write(b"z" * size)
        look()
        raise Boom


def do(store: ObjectStore, call: str, key: str) -> None:
    """One method by its name, with whatever else it needs."""
    if call.endswith("writer"):
        with store.writer(key) as writer:
            writer.write(b"x" * (BIG if call == "big writer" else 1))
    elif call == "reader":
        with store.reader(key):
            pass
    elif call == "list":
        list(store.list(key))
    elif call == "put":
        store.put(key, b"")
    elif call == "copy":
        store.copy(key, "raw/target")
    elif call == "copy to":
        store.copy("raw/good", key)
    elif call == "delete":
        store.delete(["raw/good", key])
    else:
        getattr(store, call)(key)


def test_put_get_exists_size_and_replace(store: ObjectStore) -> None:
    key = "raw/show/guid/audio/episode.mp3"
    assert not store.exists(key)
    store.put(key, b"first, and longer")
    store.put(key, b"second")
    assert store.exists(key)
    assert store.get(key) == b"second"
    assert store.size(key) == 6
    store.put(key, b"")
    assert store.get(key) == b""
    assert store.size(key) == 0


ODD_NAMES = ["a b", "100%", "%2F", "ü日本", "x+y&z=1", "it#x", "a#1b", "...", "~", "[x]*?<>|\"'`", "a:b"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_kept_as_they_are(store: ObjectStore, name: str) -> None:
    key = f"raw/{name}/x/{name}"
    store.put(key, name.encode())
    assert keys(store, f"raw/{name}") == [key]
    store.copy(key, f"stage/{name}")
    assert store.get(key) == store.get(f"stage/{name}") == name.encode()
    store.delete([key])
    assert not store.exists(key)


@pytest.mark.parametrize("call", ["get", "reader", "size", "copy"])
@pytest.mark.parametrize("key", ["raw/none/at all.mp3", "raw/show"])
def test_a_missing_key_is_permanent_and_named(store: ObjectStore, call: str, key: str) -> None:
    store.put("raw/show/x", b"x")  # a folder is no object either
    with pytest.raises(Permanent, match=key):
        do(store, call, key)
    assert not store.exists(key)
    assert keys(store, "raw") == ["raw/show/x"]


BAD_KEYS = [
    "", "/", "raw", "/raw/x", "raw/", "raw//x", "raw/./x", "raw/../x", "raw/x/", "raw/x/..", "raw\\x", "raw/a\\b",
    "raw/a\nb", "raw/a\x00", "raw/\x7f", "raw/\ud800", "elsewhere/x", "../raw/x", "raw/unfinished#3",
]  # fmt: skip
CALLS = ["put", "get", "exists", "size", "writer", "reader", "copy", "copy to", "delete", "where", "list"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_key_is_refused_by_every_method(store: ObjectStore, key: str) -> None:
    store.put("raw/good", b"x")
    for call in CALLS:
        if (call, key) != ("list", "raw"):
            with pytest.raises(Refused):
                do(store, call, key)
    assert store.get("raw/good") == b"x"


def test_delete_takes_many_and_forgives_missing_ones(store: ObjectStore) -> None:
    for name in ("a", "b", "c"):
        store.put(f"raw/{name}", b"x")
    store.delete(["raw/none", "raw/a", "raw/a", "raw/c", "stage/none"])
    store.delete([])
    assert keys(store, "raw") == ["raw/b"]


def test_list_is_by_whole_components_and_sorted(store: ObjectStore) -> None:
    names = ["raw/show/b", "raw/show/a/2", "raw/show/a-b", "raw/show/a/10", "raw/show/é", "raw/showing/x"]
    names.append("stage/show/x")
    before = time.time()
    for name in names:
        store.put(name, name.encode())
    found = list(store.list("raw/show"))
    assert [info.key for info in found] == ["raw/show/a-b", "raw/show/a/10", "raw/show/a/2", "raw/show/b", "raw/show/é"]
    assert [info.size for info in found] == [len(info.key.encode()) for info in found]
    assert all(before - 60 < info.modified < time.time() + 60 for info in found)
    assert keys(store, "raw") == sorted(name for name in names if name.startswith("raw/"))
    assert keys(store, "raw/sho") == keys(store, "raw/none/none") == []


@pytest.mark.parametrize("size", [0, 10, BIG])
def test_a_writer_shows_nothing_until_it_is_closed(store: ObjectStore, size: int) -> None:
    data = os.urandom(size)
    store.put("raw/x", b"old")
    with store.writer("raw/x") as writer:
        for begin in range(0, size, 3 * 2**20):
            writer.write(data[begin : begin + 3 * 2**20])
        assert store.get("raw/x") == b"old"
    assert store.get("raw/x") == data
    assert keys(store, "raw") == ["raw/x"]


@pytest.mark.parametrize("size", [0, 10, BIG])
def test_an_exception_aborts_the_writer_and_leaves_nothing(store: ObjectStore, size: int) -> None:
    store.put("raw/kept/x", b"old")
    for key in ("raw/new/x", "raw/kept/x"):
        with pytest.raises(Boom):
            write_and_fail(store, key, size)
    assert keys(store, "raw") == ["raw/kept/x"]
    assert store.get("raw/kept/x") == b"old"


def test_an_aborted_writer_leaves_no_hidden_file(tmp_path: Path) -> None:
    store = open_objects({"raw": tmp_path.as_uri()}, S3Options())
    files: list[str] = []
    with pytest.raises(Boom):
        write_and_fail(store, "raw/a/x", BIG, lambda: files.extend(each.name for each in (tmp_path / "a").iterdir()))
    assert files == ["x#1"]
    assert list((tmp_path / "a").iterdir()) == []


def test_an_aborted_writer_leaves_no_multipart_upload(seaweed_server: Seaweed) -> None:
    store = open_objects({"raw": f"s3://{seaweed_server.bucket}/aborted"}, options(seaweed_server))
    seen: list[int] = []

    def look() -> None:
        deadline = time.monotonic() + 10
        while not seaweed_server.unfinished_uploads() and time.monotonic() < deadline:
            time.sleep(0.02)
        seen.append(seaweed_server.unfinished_uploads())

    with pytest.raises(Boom):
        write_and_fail(store, "raw/x", BIG, look)
    assert seen == [1]
    assert seaweed_server.unfinished_uploads() == 0


def test_the_files_of_a_killed_writer_are_never_listed_and_in_nobodys_way(tmp_path: Path) -> None:
    script = """
        import sys, time
        from podinsight.adapters.obstore_objects import S3Options, open_objects
        with open_objects({"raw": sys.argv[1]}, S3Options()).writer("raw/a/x") as writer:
            writer.write(b"z" * 20_000_000)
            print("written", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path.as_uri()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x#1"]
    store = open_objects({"raw": tmp_path.as_uri()}, S3Options())
    assert keys(store, "raw") == []
    assert not store.exists("raw/a/x")
    with store.writer("raw/a/x") as writer:
        writer.write(b"whole" * 2_000_000)
    assert store.size("raw/a/x") == 10_000_000


def test_a_writer_needs_its_with_block(store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="with"):
        store.writer("raw/x").write(b"x")


def test_a_writer_keeps_memory_bounded(tmp_path: Path) -> None:
    script = """
        import resource, sys
        from podinsight.adapters.obstore_objects import S3Options, open_objects
        store = open_objects({"raw": sys.argv[1]}, S3Options())
        with store.writer("raw/warm") as writer:
            writer.write(b"z" * 20_000_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with store.writer("raw/x") as writer:
            for _ in range(400):
                writer.write(b"z" * 1_000_000)
        with store.reader("raw/x") as stream:
            while stream.read(1 << 20):
                pass
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(grown // 1024 if sys.platform != "darwin" else grown // 2**20)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path.as_uri()], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 100, "MiB, for an object of 400 MB"


def test_a_reader_seeks_and_reads_ranges(store: ObjectStore) -> None:
    data = os.urandom(3 * 2**20 + 5)
    store.put("raw/x", data)
    with store.reader("raw/x") as stream:
        assert stream.seekable()
        assert stream.readable()
        assert not stream.writable()
        assert stream.read(10) == data[:10]
        assert stream.seek(-7, io.SEEK_END) == len(data) - 7
        assert stream.read() == data[-7:]
        assert stream.read(1) == b""
        assert stream.seek(2**20 - 3) == stream.tell()
        assert stream.read(2 * 2**20) == data[2**20 - 3 : 3 * 2**20 - 3]
        stream.seek(5, io.SEEK_CUR)
        assert stream.read(1) == data[3 * 2**20 + 2 : 3 * 2**20 + 3]
        stream.seek(len(data) + 100)
        assert stream.read(5) == b""
        stream.seek(0)
        assert stream.read() == data
        with pytest.raises((OSError, ValueError)):
            stream.seek(-1)
    assert stream.closed


def test_a_reader_of_an_empty_object(store: ObjectStore) -> None:
    store.put("raw/x", b"")
    with store.reader("raw/x") as stream:
        assert stream.read() == b""
        assert stream.seek(0, io.SEEK_END) == 0


def test_a_reader_never_mixes_two_versions(store: ObjectStore) -> None:
    size = 5 * 2**20
    store.put("raw/x", b"1" * size)
    with store.reader("raw/x") as stream:
        first = stream.read(10)
        store.put("raw/x", b"2" * size)
        try:
            rest = stream.read()
        except Transient:
            rest = b"1"
    assert set(first + rest) == {ord("1")}


def test_copy_replaces_and_leaves_the_source(store: ObjectStore) -> None:
    store.put("raw/x", b"new")
    store.put("stage/deep/er/y", b"old, and longer")
    for _ in range(3):  # again: a copy onto its own copy
        store.copy("raw/x", "stage/deep/er/y")
    store.copy("raw/x", "raw/x")
    assert store.get("stage/deep/er/y") == b"new"
    store.put("raw/x", b"changed since")
    assert store.get("stage/deep/er/y") == b"new"
    assert keys(store, "stage") == ["stage/deep/er/y"]


def test_a_local_copy_leaves_no_hidden_file(tmp_path: Path) -> None:
    store = open_objects({"raw": tmp_path.as_uri()}, S3Options())
    store.put("raw/x", b"new")
    for _ in range(3):
        store.copy("raw/x", "raw/y")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]


def test_copy_between_different_stores(tmp_path: Path, seaweed_server: Seaweed) -> None:
    areas = {"raw": tmp_path.as_uri(), "stage": f"s3://{seaweed_server.bucket}/between", "clips": "memory:///"}
    store = open_objects(areas, options(seaweed_server))
    data = os.urandom(BIG)
    store.put("raw/x", data)
    store.copy("raw/x", "stage/x")
    store.copy("stage/x", "clips/x")
    store.copy("clips/x", "raw/y")
    assert store.get("raw/y") == data


def test_readers_see_whole_objects_while_writers_race(store: ObjectStore) -> None:
    versions = [bytes([48 + n]) * (100_000 + n) for n in range(4)]
    for n, version in enumerate(versions):
        store.put(f"raw/v{n}", version)
    store.put("raw/x", versions[0])
    failures: list[BaseException] = []

    def write(n: int) -> None:
        try:
            for _ in range(15):
                store.put("raw/x", versions[n])
                store.copy(f"raw/v{n}", "raw/x")
                with store.writer("raw/x") as writer:
                    writer.write(versions[n])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        seen.add(store.get("raw/x"))
    assert failures == []
    assert seen <= set(versions)
    assert keys(store, "raw") == ["raw/v0", "raw/v1", "raw/v2", "raw/v3", "raw/x"]


# ------------------------------------------------------------------------------------------------- sweep


def test_a_sweep_takes_what_begins_with_the_prefix_and_nothing_else(store: ObjectStore) -> None:
    mine = [
        "raw/s/g/attempts/tok",
        "raw/s/g/attempts/tok-0.vtt",
        "raw/s/g/attempts/tok.d/deep/er",
        "raw/s/g/attempts/token2",
    ]
    others = ["raw/s/g/attempts/to", "raw/s/g/attempts/x/tok", "raw/s/g/audio/tok", "stage/s/g/attempts/tok", "raw/tok"]
    for name in (*mine, *others):
        store.put(name, b"x")
    assert store.sweep("raw/s/g/attempts/tok") == 4
    assert [*keys(store, "raw"), *keys(store, "stage")] == sorted(others)
    assert store.sweep("raw/s/g/attempts/tok") == 0
    assert store.sweep("raw/none/at/all") == 0
    assert store.sweep("raw/s/g/attempts/") == 2
    assert keys(store, "raw/s") == ["raw/s/g/audio/tok"]


@pytest.mark.parametrize("prefix", ["", "raw", "raw/", "/raw/x", "raw/../x", "raw/x/..", "raw//", "nowhere/x", "ra"])
def test_a_sweep_of_what_is_no_prefix_of_keys_is_refused(store: ObjectStore, prefix: str) -> None:
    store.put("raw/x", b"x")
    with pytest.raises(Refused):
        store.sweep(prefix)
    assert keys(store, "raw") == ["raw/x"]


KILLED_WRITER = """
    import sys, time
    from podinsight.adapters.obstore_objects import S3Options, open_objects
    with open_objects({"raw": sys.argv[1]}, S3Options(*sys.argv[2:])).writer("raw/a/tok") as writer:
        writer.write(b"z" * 20_000_000)
        print("written", flush=True)
        time.sleep(60)
"""


def kill_a_writer(*arguments: str) -> None:
    """A process that is killed in the middle of `raw/a/tok`."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED_WRITER), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)


def test_a_sweep_ends_the_hidden_files_of_a_killed_writer(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "tok").write_bytes(b"x")
    kill_a_writer((tmp_path / "raw").as_uri())
    store = open_objects({"raw": (tmp_path / "raw").as_uri()}, S3Options())
    (tmp_path / "raw" / "a" / "tok-link").symlink_to(outside)
    assert [path.name for path in (tmp_path / "raw").rglob("*#*")] == ["tok#1"]
    assert store.sweep("raw/a/tok") == 2
    assert list((tmp_path / "raw" / "a").iterdir()) == []
    assert (outside / "tok").exists(), "a link is deleted and not followed"


def test_a_sweep_aborts_the_uploads_of_a_killed_writer(seaweed_server: Seaweed, tmp_path: Path) -> None:
    s3, area = options(seaweed_server), f"s3://{seaweed_server.bucket}/{tmp_path.name}"
    before = seaweed_server.unfinished_uploads()
    kill_a_writer(area, *(str(part) for part in (s3.endpoint, s3.region, s3.access_key_id, s3.secret_access_key)))
    store = open_objects({"raw": area}, s3)
    with store.writer("raw/b/other") as writer:
        writer.write(b"z" * BIG)
        until = time.monotonic() + 10
        while seaweed_server.unfinished_uploads() < before + 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert store.sweep("raw/a/to") == 1
        assert seaweed_server.unfinished_uploads() == before + 1
        assert store.sweep("raw/a/to") == 0
    assert store.size("raw/b/other") == BIG, "the other writer goes on"


def test_without_boto3_uploads_are_left_to_the_bucket_and_that_is_said_once(
    seaweed_server: Seaweed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setattr(sweeping, "_told", threading.Event())
    store = open_objects({"raw": f"s3://{seaweed_server.bucket}/plain"}, options(seaweed_server))
    store.put("raw/a/x", b"x")
    assert store.sweep("raw/a/x") == 1
    assert store.sweep("raw/a/x") == 0
    assert [record.getMessage() for record in caplog.records if "lifecycle" in record.getMessage()] == [
        "unfinished S3 uploads are left to the bucket's lifecycle rule: the extra `aws` ends them"
    ]


def test_where_tells_a_person(tmp_path: Path) -> None:
    store = open_objects({"raw": tmp_path.as_uri(), "stage": "s3://bucket/prefix/"}, S3Options(region="us-east-1"))
    assert store.where("raw/a b/x") == str(tmp_path / "a b" / "x")
    assert store.where("stage/a b/x") == "s3://bucket/prefix/a b/x"


def unreachable() -> ObjectStore:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    return open_objects({"raw": "s3://bucket/raw"}, S3Options(endpoint, "us-east-1", "a", "secret"))


@pytest.mark.parametrize("call", ["big writer", *(each for each in CALLS if each not in ("copy to", "where"))])
def test_an_unreachable_store_is_transient(call: str) -> None:
    store = unreachable()
    with pytest.raises(Transient) as caught:
        do(store, call, "raw/x")
    assert caught.value.ours
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_credentials_and_buckets_are_permanent(seaweed_server: Seaweed) -> None:
    wrong = S3Options(seaweed_server.endpoint, seaweed_server.region, seaweed_server.access_key_id, "wrong")
    for area, s3 in ((f"s3://{seaweed_server.bucket}", wrong), ("s3://no-such-bucket", options(seaweed_server))):
        store = open_objects({"raw": area}, s3)
        with pytest.raises(Permanent):
            store.put("raw/x", b"")
        with pytest.raises(Permanent):
            list(store.list("raw"))


def test_a_local_store_that_cannot_is_permanent_when_trying_again_is_useless(tmp_path: Path) -> None:
    store = open_objects({"raw": tmp_path.as_uri()}, S3Options())
    store.put("raw/file", b"x")
    with pytest.raises(Permanent):
        store.put("raw/file/below", b"x")
    with pytest.raises(Permanent):
        store.put("raw/" + "n" * 300, b"x")


@pytest.mark.parametrize("url", ["", "relative/folder", "file://relative", "http://host/x", "s3://", "gs://bucket"])
def test_an_area_that_is_no_store_is_a_setting_to_mend(url: str) -> None:
    with pytest.raises(ConfigError, match="raw"):
        open_objects({"raw": url}, S3Options())


def test_a_folder_that_cannot_be_made_is_a_setting_to_mend() -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.raises(ConfigError, match="folder"):
        open_objects({"raw": f"file://{file.name}/below"}, S3Options())


def test_importing_the_adapter_does_not_import_obstore() -> None:
    code = "import sys, podinsight.adapters.obstore_objects; sys.exit('obstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_folders_are_those_directly_below(store: ObjectStore) -> None:
    for key in ("raw/b b/x/1", "raw/a/y/2", "raw/a/3", "raw/é #1/z", "raw/file", "stage/other/x"):
        store.put(key, b"x")
    assert store.folders("raw") == ["a", "b b", "é #1"]
    assert store.folders("raw/a") == ["y"]
    assert store.folders("raw/none") == store.folders("raw/file") == []
    with pytest.raises(Refused):
        store.folders("elsewhere")
