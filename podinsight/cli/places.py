"""Files and objects that a command is pointed at: a path, a key of our own store, or an object's URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from podinsight.cli.exits import CommandError
from podinsight.cli.session import Session
from podinsight.ports import ObjectStore
from podinsight.settings import Settings


def canonical(url: str) -> str:
    """One spelling of `file:///folder`, `s3://bucket/prefix` and of a path. Raises CommandError for anything else."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return Path(unquote(parts.path)).resolve().as_uri()
    if parts.scheme == "s3" and parts.netloc and "@" not in parts.netloc:
        return f"s3://{parts.netloc}{parts.path}".rstrip("/")
    if not parts.scheme:
        return Path(url).expanduser().resolve().as_uri()
    raise CommandError(f"{parts.scheme}://… cannot be read here: write s3://bucket/key, file:///folder, or a path")


def own_areas(settings: Settings) -> dict[str, str]:
    """Area → its URL, as `canonical` spells it."""
    return {area: canonical(url) for area, url in settings.area_urls().items()}


def own_key(settings: Settings, url: str) -> str | None:
    """The key in our own store of what lies at this canonical URL, None when it lies elsewhere."""
    for area, root in own_areas(settings).items():
        if url.startswith(f"{root}/"):
            rest = url.removeprefix(f"{root}/")
            return f"{area}/{unquote(rest) if url.startswith('file:') else rest}"
    return None


def find_object(session: Session, text: str) -> tuple[ObjectStore, str] | None:
    """The store and the key of an object by its URL, or by its key in our area manifests; None: it is a path.

    Raises:
        CommandError: a URL of another kind.
    """
    from podinsight.bootstrap import PLACE, open_place

    if "://" not in text:
        return (session.container.objects, text) if text.startswith("manifests/") and not Path(text).exists() else None
    url = canonical(text)
    key = own_key(session.settings, url)
    if key is not None:
        return session.container.objects, key
    if url.startswith("file:"):
        return None
    folder, _, name = url.rpartition("/")
    if folder.count("/") < 2:
        raise CommandError(f"{url} names a bucket, not an object in it")
    return open_place(session.settings, folder), f"{PLACE}/{name}"


def local_path(text: str) -> Path:
    """The path that `find_object` left."""
    return Path(unquote(urlsplit(text).path)) if text.startswith("file:") else Path(text).expanduser()


@contextmanager
def open_file(session: Session, text: str) -> Iterator[BinaryIO]:
    """A stream of the file or object.

    Raises:
        CommandError: neither a path nor an object's URL, or the file cannot be opened.
        PodinsightError: the object cannot be read.
    """
    place = find_object(session, text)
    if place is not None:
        objects, key = place
        with objects.reader(key) as stream:
            yield stream
        return
    try:
        handle = local_path(text).open("rb")
    except OSError as error:
        raise CommandError(f"{text}: {error.strerror}") from None
    with handle:
        yield handle
