"""An episode and where its objects lie (DESIGN.md, Objects)."""

from dataclasses import dataclass

from podinsight.domain.feed import ChaptersLink, Person, TranscriptLink

DIRECT_SLUG = "direct"


@dataclass(frozen=True)
class PublisherTranscript:
    """A publisher's transcript that lies at `key` (F12). accepted: it covers the audio and reads like speech, so it is
    used instead of the GPU; else `reason` says why it was kept aside."""

    key: str
    url: str
    type: str
    language: str | None
    accepted: bool
    reason: str = ""


@dataclass(frozen=True)
class Episode:
    """One episode. `folder` is the safe form of its GUID; keys are object keys; seconds, bytes, epoch seconds.

    `seq` is the order of discovery: the stable order in which `--limit` counts. `same_as` is the id of an earlier
    episode, of any feed, with the same audio, byte by byte.
    """

    id: str
    seq: int
    feed_id: str
    feed_slug: str
    guid: str
    folder: str
    title: str
    url: str
    host: str
    mime: str | None = None
    length: int | None = None
    published: float | None = None
    duration: float | None = None
    language: str | None = None
    image: str | None = None
    season: int | None = None
    number: int | None = None
    transcripts: tuple[TranscriptLink, ...] = ()
    chapters: ChaptersLink | None = None
    persons: tuple[Person, ...] = ()
    publisher: tuple[PublisherTranscript, ...] = ()
    user_agent: str | None = None
    same_as: str | None = None
    audio_key: str | None = None
    audio_bytes: int | None = None
    audio_sha256: str | None = None
    audio_mime: str | None = None
    audio_seconds: float | None = None
    fetched_at: float | None = None
    transcript_key: str | None = None
    model: str | None = None

    @property
    def raw(self) -> str:
        return f"raw/{self.feed_slug}/{self.folder}"

    @property
    def stage(self) -> str:
        return f"stage/{self.feed_slug}/{self.folder}"

    @property
    def meta_key(self) -> str:
        return f"{self.raw}/meta/meta.json"

    def attempts(self, stage: str) -> str:
        """The folder of a stage's attempts: what is written here counts only once its row commits it."""
        if stage == "plan":
            return self.chunks
        return f"{self.raw if stage == 'fetch' else self.stage}/attempts"

    def scratch(self, stage: str) -> tuple[str, ...]:
        """The folders that nobody needs any more once what a stage has made has its fixed names."""
        match stage:
            case "plan":
                return ()  # the chunks' audio is yet to be heard
            case "transcribe":
                return (self.attempts(stage), self.parts, self.chunks)
        return (self.attempts(stage),)

    @property
    def parts(self) -> str:
        return f"{self.stage}/parts"

    @property
    def chunks(self) -> str:
        """The folder of plan attempts: below each, `plan.json` and the chunks' audio."""
        return f"{self.stage}/chunks"

    @property
    def plan_name(self) -> str:
        """The fixed name of the plan: `raw/<slug>/<guid>/plan/plan.json`."""
        return f"{self.raw}/plan/plan.json"

    def publisher_name(self, n: int, extension: str) -> str:
        """The fixed name of the n-th publisher transcript (0-based), e.g. `raw/<slug>/<guid>/transcripts/0.vtt`."""
        return f"{self.raw}/transcripts/{n}.{extension}"

    def audio_name(self, extension: str) -> str:
        """The fixed name of the audio, e.g. `raw/<slug>/<guid>/audio/episode.mp3`."""
        return f"{self.raw}/audio/episode.{extension}"


@dataclass(frozen=True)
class FetchedAudio:
    """What a fetch attempt wrote: `attempt_key` holds the object until it is projected to `audio_key`.

    copies: (attempt name, fixed name) of what was fetched beside the audio: `publisher` transcripts.
    """

    attempt_key: str
    audio_key: str
    size: int
    sha256: str
    mime: str
    seconds: float
    final_url: str
    final_host: str
    publisher: tuple[PublisherTranscript, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class TranscriptFiles:
    """What a transcription attempt wrote: (attempt name, fixed name) of each file, and the figures worth a query.

    kept: why the transcript that was there stays (domain.better); `files` is empty then, `transcript_key` and `model`
    are those of the old one, and the figures tell what was spent.
    """

    files: tuple[tuple[str, str], ...]
    transcript_key: str
    model: str
    words: int
    audio_seconds: float
    wall_seconds: float
    device_seconds: float
    kept: str = ""


@dataclass(frozen=True)
class Projection:
    """A committed unit whose fixed names still have to be written.

    episode: as it will be once that is done. copies: (attempt name, fixed name). scratch: folders to empty afterwards.
    """

    work_id: int
    stage: str
    episode: Episode
    copies: tuple[tuple[str, str], ...]
    scratch: tuple[str, ...]
