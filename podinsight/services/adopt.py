"""Taking over an archive that is there already (F15): what lies in it is registered, and never fetched again.

What lies in our own areas stays where it is; the rest is copied, streaming, under an attempt's names, and gets its
fixed names by the projection, as what is fetched does. Every step can be done twice.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from podinsight.domain.archive import (
    ADOPTED,
    KEPT_META,
    MIME,
    Folder,
    Meta,
    Piece,
    extension,
    folders,
    read_meta,
    unknown_url,
)
from podinsight.domain.episode import Episode, FetchedAudio, TranscriptFiles
from podinsight.domain.feed import Feed, FeedItem
from podinsight.domain.identity import safe_name
from podinsight.errors import Permanent, Refused, Transient
from podinsight.ports import Holding, MediaProbe, ObjectStore, StatusStore
from podinsight.services.project import project_episode

BLOCK: Final = 1 << 20
LARGEST_JSON: Final = 64 << 20
SCHEMA: Final = "podinsight/meta/1"


@dataclass(frozen=True)
class Root:
    """Where feeds' folders lie: `prefix` is a folder of `objects`. own: it is our own store, so nothing is copied."""

    objects: ObjectStore
    prefix: str
    own: bool


@dataclass(frozen=True)
class AdoptPorts:
    """What adopting needs."""

    store: StatusStore
    objects: ObjectStore
    probe: MediaProbe


@dataclass(frozen=True)
class Event:
    """What became of one episode's folder. stages: what is new by it; size: bytes of audio."""

    kind: Literal["adopted", "known", "broken"]
    slug: str
    folder: str
    stages: tuple[str, ...] = ()
    size: int = 0
    reason: str = ""


def adopt(
    ports: AdoptPorts, roots: Sequence[Root], feeds: Mapping[str, str] | None = None, dry_run: bool = False
) -> Iterator[Event]:
    """Adopts what lies under the roots, feed by feed; only one feed's names are held at a time.

    Args:
        feeds: folder name → URL of the feed that it belongs to; else what meta.json says, else the feed of that slug.

    Raises:
        Unavailable, Transient: the database or an object store is away; saying it again goes on.
    """
    work = _Work(ports, roots, dict(feeds or {}), dry_run)
    for slug in sorted({name for root in roots for name in root.objects.folders(root.prefix)}):
        for folder in folders(_pieces(roots, slug)):
            try:
                yield work.one(slug, folder)
            except (Permanent, Refused) as error:
                yield Event("broken", slug, folder.name, reason=str(error))
            except Transient as error:
                if error.ours:
                    raise
                yield Event("broken", slug, folder.name, reason=str(error))


def _pieces(roots: Sequence[Root], slug: str) -> Iterator[tuple[str, Piece]]:
    for number, root in enumerate(roots):
        start = f"{root.prefix}/{slug}/"
        for info in root.objects.list(start.rstrip("/")):
            folder, _, name = info.key.removeprefix(start).partition("/")
            if name:
                yield folder, Piece(name, info.key, info.size, number)


@dataclass
class _Work:
    """One run. written: attempt names of the folder at hand, swept when it comes to nothing."""

    ports: AdoptPorts
    roots: Sequence[Root]
    urls: dict[str, str]
    dry_run: bool
    feeds: dict[tuple[str, str | None], Feed | None] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)

    def one(self, slug: str, folder: Folder) -> Event:
        """Raises Permanent or Transient with what is wrong with it."""
        meta = self._meta(folder)
        feed = self._feed(slug, meta)
        known = self._known(feed, folder, meta) if feed else None
        wanted = _wanted(folder, known)
        if not wanted:
            return Event("known", slug, folder.name)
        if "fetch" not in wanted and (known is None or known.audio_key is None):
            raise Permanent("a transcript without its audio: adopt the raw objects first, or both at once")
        size = folder.audio.size if folder.audio and "fetch" in wanted else 0
        if folder.audio and size == 0 and "fetch" in wanted:
            raise Permanent(f"{folder.audio.key} is empty")
        if self.dry_run or feed is None:
            return Event("adopted", slug, folder.name, wanted, size)
        made = self._register(feed, known, folder, meta, wanted)
        return Event("adopted" if made else "known", slug, folder.name, made, size)

    def _register(
        self, feed: Feed, known: Episode | None, folder: Folder, meta: Meta, wanted: tuple[str, ...]
    ) -> tuple[str, ...]:
        guid = known.guid if known else meta.guid or folder.name
        place = known.folder if known else self._place(feed, guid, folder.name)
        below = f"{feed.slug}/{place}"
        item = FeedItem(
            guid=guid,
            title=meta.title or folder.name,
            url=meta.url or unknown_url(str(feed.slug), place),
            published=meta.published,
            duration=meta.audio_seconds,
        )
        holding = self._hold(Holding(item, place), folder, meta, wanted, below)
        self._keep_meta(folder, meta, f"raw/{below}")
        episode, made = self.ports.store.intake.adopt(feed.id, holding)
        areas = {"fetch": "raw/", "transcribe": "stage/"}
        spare = tuple(area for stage, area in areas.items() if stage not in made)
        self.ports.objects.delete([key for key in self.written if key.startswith(spare)] if spare else [])
        for stage in made:
            project_episode(self.ports.store, self.ports.objects, stage, episode.id)
        return made

    def _hold(self, holding: Holding, folder: Folder, meta: Meta, wanted: tuple[str, ...], below: str) -> Holding:
        """With its objects, which are copied unless they are in our own store; nothing stays when that fails."""
        self.written = []
        try:
            audio = self._audio(folder.audio, meta, below) if folder.audio and "fetch" in wanted else None
            transcript = self._transcript(folder, meta, below) if "transcribe" in wanted else None
        except BaseException:
            self.ports.objects.delete(self.written)
            raise
        return replace(holding, audio=audio, transcript=transcript)

    def _meta(self, folder: Folder) -> Meta:
        if folder.meta is None:
            return Meta()
        try:
            return read_meta(self._small(folder.meta))
        except ValueError as error:
            raise Permanent(f"{folder.meta.key} {error}") from None

    def _small(self, piece: Piece) -> bytes:
        if piece.size > LARGEST_JSON:
            raise Permanent(f"{piece.key} is too large: {piece.size:,} bytes")
        return self.roots[piece.root].objects.get(piece.key)

    def _feed(self, slug: str, meta: Meta) -> Feed | None:
        """The feed of a folder; None when a dry run meets one that is not there."""
        intake = self.ports.store.intake
        said = self.urls.get(slug)
        key = (slug, said or meta.feed_url)
        if key not in self.feeds:
            here = next((feed for feed in self.ports.store.catalogue.feeds() if feed.slug == slug), None)
            url = key[1]
            if not said and url and here and not here.url.startswith(ADOPTED) and intake.find_feed(url) is None:
                url = None  # the feed that is followed under this name is meant, whatever its address was then
            if self.dry_run:
                self.feeds[key] = (intake.find_feed(url) if url else None) or here
            else:
                self.feeds[key] = intake.archive_feed(slug, url)
        return self.feeds[key]

    def _known(self, feed: Feed, folder: Folder, meta: Meta) -> Episode | None:
        guid = meta.guid or folder.name
        found = self.ports.store.intake.find(feed.id, [guid]).get(guid)
        if found is None and meta.guid is None:  # all that is known of the GUID is the folder's name
            found = self.ports.store.intake.in_folder(feed.id, folder.name)
        return found

    def _place(self, feed: Feed, guid: str, name: str) -> str:
        """The folder of a new episode: as the archive calls it, unless that is unsafe or another episode's."""
        if safe_name(name) == name and self.ports.store.intake.in_folder(feed.id, name) is None:
            return name
        return safe_name(f"{guid} {name}")

    def _attempt(self, area: str, below: str) -> str:
        key = f"{area}/{below}/attempts/{secrets.token_hex(8)}"
        self.written.append(key)
        return key

    def _audio(self, piece: Piece, meta: Meta, below: str) -> FetchedAudio:
        root = self.roots[piece.root]
        told = meta.audio_sha256 if meta.audio_bytes in (None, piece.size) else None
        if meta.audio_bytes not in (None, piece.size):
            raise Permanent(f"{piece.key} has {piece.size:,} bytes, its meta.json says {meta.audio_bytes:,}")
        attempt = piece.key if root.own else self._attempt("raw", below)
        sha256 = told if root.own and told else self._read(piece, None if root.own else attempt)
        if told and sha256 != told:
            raise Permanent(f"{piece.key} is not what its meta.json says: the sha256 differs")
        ending, mime, seconds = self._probed(piece, meta, attempt)
        return FetchedAudio(
            attempt_key=attempt,
            audio_key=piece.key if root.own else f"raw/{below}/audio/episode.{ending}",
            size=piece.size,
            sha256=sha256,
            mime=mime,
            seconds=seconds,
            final_url="",
            final_host="",
        )

    def _probed(self, piece: Piece, meta: Meta, key: str) -> tuple[str, str, float]:
        """Extension, MIME type and seconds: as meta.json says, else as the audio itself does."""
        ending = extension(piece.name)
        if ending and meta.audio_seconds:
            return ending, meta.audio_mime or MIME[ending], meta.audio_seconds
        with self.ports.objects.reader(key) as stream:
            found = self.ports.probe.probe(stream)
        return found.extension, found.mime, found.seconds

    def _read(self, piece: Piece, target: str | None) -> str:
        """The sha256 of an object, copied to `target` on the way."""
        digest, size = hashlib.sha256(), 0
        with self.roots[piece.root].objects.reader(piece.key) as stream:
            if target is None:
                while block := stream.read(BLOCK):
                    digest.update(block)
                    size += len(block)
            else:
                with self.ports.objects.writer(target) as out:
                    while block := stream.read(BLOCK):
                        digest.update(block)
                        out.write(block)
                        size += len(block)
        if size != piece.size:
            raise Permanent(f"{piece.key} ended after {size:,} of {piece.size:,} bytes")
        return digest.hexdigest()

    def _transcript(self, folder: Folder, meta: Meta, below: str) -> TranscriptFiles | None:
        piece = folder.transcript
        if piece is None:
            return None
        try:
            said = json.loads(self._small(piece))
        except (ValueError, RecursionError):
            raise Permanent(f"{piece.key} is not JSON") from None
        if not isinstance(said, dict | list) or not said:
            raise Permanent(f"{piece.key} is no transcript")
        model = said.get("model") if isinstance(said, dict) else None
        here = self.roots[piece.root].own
        files = [] if here else [(self._copied(each, below), f"stage/{below}/{each.name}") for each in folder.files]
        return TranscriptFiles(
            files=tuple(files),
            transcript_key=piece.key if here else f"stage/{below}/{piece.name}",
            model=model if isinstance(model, str) else meta.model or "",
            words=0,
            audio_seconds=meta.audio_seconds or 0.0,
            wall_seconds=0.0,
            device_seconds=0.0,
        )

    def _copied(self, piece: Piece, below: str) -> str:
        attempt = self._attempt("stage", below)
        self._read(piece, attempt)
        return attempt

    def _keep_meta(self, folder: Folder, meta: Meta, raw: str) -> None:
        """A meta.json of another make that ours will be written over stays beside it, once."""
        piece, kept = folder.meta, f"{raw}/meta/{KEPT_META}"
        ours = piece is None or meta.raw.get("schema") == SCHEMA
        if piece is None or ours or not self.roots[piece.root].own or piece.key != f"{raw}/meta/meta.json":
            return
        if not self.ports.objects.exists(kept):
            self.ports.objects.copy(piece.key, kept)


def _wanted(folder: Folder, known: Episode | None) -> tuple[str, ...]:
    """The stages that the folder has something for and the episode does not."""
    wanted = []
    if folder.audio and not (known and known.audio_key):
        wanted.append("fetch")
    if folder.transcript and not (known and known.transcript_key):
        wanted.append("transcribe")
    return tuple(wanted)
