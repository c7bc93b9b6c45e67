"""Work rows, chunks and lanes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from podinsight.domain.episode import FetchedAudio, Projection, TranscriptFiles
from podinsight.domain.work import Lease, Span, State, Ticket
from podinsight.ports.economy import EconomyRows
from podinsight.ports.twins import TwinRows
from podinsight.ports.work_views import WorkViews

NO_DEVICE: Final = "none"  # what decoded a part that no device has heard: publisher's words


@dataclass(frozen=True)
class Reconciled:
    """What a reconcile pass moved."""

    expired: int = 0
    unclaimed: int = 0
    due: int = 0
    set_aside: int = 0


@dataclass(frozen=True)
class Decoded:
    """What decoding a chunk took. device: `cpu`, `cuda` …; `none` for what no device has heard (publisher's words)."""

    audio_seconds: float
    wall_seconds: float
    device_seconds: float
    model: str
    device: str
    compute_type: str


@dataclass(frozen=True)
class Leftover:
    """Objects that an attempt may have left behind when its worker was killed: all that begin with `prefix`."""

    id: int
    prefix: str


@dataclass(frozen=True)
class LeaseHolder:
    """How many leases a worker holds. since: when the newest of them was given, epoch seconds."""

    leases: int
    since: float


@dataclass(frozen=True)
class OverBudget:
    """A transcription of which something is held by a ceiling. run_id: under which it is paid; reason: `budget: …`."""

    episode_id: str
    run_id: str
    reason: str


class WorkRows(EconomyRows, TwinRows, WorkViews, Protocol):
    """Work rows, chunks and lanes: the truth about every unit.

    Every method is one transaction, but for these: enqueueing and approving go in batches, dispatch, reconcile,
    expire_worker and a claim that is refused for its device in two, release_over_budget in batches. Each step is whole
    by itself, and saying it again does the rest.

    Transitions keep the lanes' counters; a write that carries a lease whose token is no longer the row's raises
    `LeaseLost` and changes nothing.

    A lease is paid up to its end (G1, G2). What it may cost by then is reserved in its claim and in each renewal, under
    its token; whatever ends it settles that in the same transaction with a line of the ledger: the whole milliseconds
    that it lasted, at the price of the worker's device. A device that nobody knows has a price. Where a price is
    nothing, no budget is touched, and the ledger has a line all the same. A join costs nothing, nor does what
    publishers wrote or a twin has. Of a fetch and a plan it is their worker's time that costs, of a fetch also the
    bytes that came in, whatever became of it, but those of a worker that has lost its lease: nobody knows them.

    What does not fit under a ceiling (G3): that of the episode or the run holds what waits of this transcription, with
    the reason `budget: …`, until `release_over_budget`; any other leaves it waiting, and GPU work is frozen, by the
    month's ceiling everything halted, with an alert. A fetch or a plan is delayed by a quarter of an hour.
    """

    def enqueue_fetch(
        self,
        episode_ids: Sequence[str],
        priority: int,
        transcribe: Mapping[str, object] | None,
        approved: str = "",
        quoted_seconds: Mapping[str, float] | None = None,
    ) -> int:
        """Makes `waiting` fetch rows for episodes that have none; with `transcribe` (its params) also transcribe
        rows, as `enqueue_transcribe` does. Returns how many fetch rows are new. What is there stays as it is, so a
        call that was cut off is simply made again. Where the fetch has failed before, the transcribe row fails with
        it, and both start over together."""
        ...

    def enqueue_transcribe(
        self,
        episode_ids: Sequence[str],
        priority: int,
        params: Mapping[str, object],
        approved: str = "",
        quoted_seconds: Mapping[str, float] | None = None,
    ) -> int:
        """Makes transcribe rows for episodes that have none; returns how many are new.

        A row is `held` until its audio is there, then until somebody has approved its cost (`approved`: who or which
        rule; kept in the params, with the seconds of audio quoted, so that an episode which turns out far longer
        is asked about again), then until its plan is made; with that it gets its chunks and is `waiting`. What the
        publisher's transcript answers costs nothing and needs neither approval nor plan: it gets one chunk.

        Nor is audio transcribed twice (F10). Where another episode with the same bytes was transcribed by the same
        model, language, prompt, hotwords and words, the row gets one chunk and `same_as` in its params: whose
        transcript it takes. Where that is on its way the row is held for it, whether approved or not, and counts for
        no demand; it goes on in the transaction that projects the other's transcript, or that ends, refuses or holds
        the other's row, at the latest when `release_twins` looks again. Params with `same_audio` False ask for
        decoding in any case.
        """
        ...

    def transcribe_again(
        self,
        episode_ids: Sequence[str],
        priority: int,
        params: Mapping[str, object],
        approved: str = "",
        quoted_seconds: Mapping[str, float] | None = None,
    ) -> int:
        """Transcriptions that have ended (done with their files in place, failed or refused) are made anew, as
        `enqueue_transcribe` makes them: by these params, under this approval and no earlier one, with a new plan and
        new chunks, and without taking another's transcript of the same audio. Returns how many. All else stays as it
        is: what is under way, what has no row or no audio.

        The episode keeps its transcript until the new one has its place; which of the two stays says domain.better,
        unless the params say `replace`. What still ran of a failed one has lost its lease. A call that was cut off is
        simply made again: what has started over is under way then and stays, until it has ended."""
        ...

    def approve(
        self,
        by: str,
        episode_ids: Sequence[str] | None = None,
        models: Mapping[str, str] | None = None,
        quoted_seconds: Mapping[str, float] | None = None,
    ) -> int:
        """Approves the transcription of these episodes, or of all that wait for it; returns how many were held for
        that alone. models: by episode, what the approval was given for; a row that asks for another model goes on
        waiting. quoted_seconds: as in `enqueue_transcribe`."""
        ...

    def waiting_for_approval(self, episode_ids: Sequence[str] | None = None) -> list[str]:
        """Ids of the episodes (of these, or of all) whose transcription is held for its approval, or would be once the
        audio is there; all of them in the order of discovery."""
        ...

    def count_waiting_for_approval(self) -> int:
        """How many `waiting_for_approval` would give; reads an index of them alone."""
        ...

    def dispatch(self, lane: str, slots: int) -> list[Ticket]:
        """Moves the best `waiting` units of a lane stage to `dispatched` (see domain.work.share_out), as many as
        `slots` less what is in flight; promotes due `delayed` ones first. Two dispatchers never take the same unit
        nor the same slot. Nothing while control forbids the stage."""
        ...

    def leased(self, worker: str) -> int:
        """Units that run under a lease of this worker."""
        ...

    def lease_holders(self) -> dict[str, LeaseHolder]:
        """Every worker that holds a lease, by its id."""
        ...

    def undo_dispatch(self, tickets: Sequence[Ticket]) -> None:
        """Back to `waiting`: the broker did not take the message."""
        ...

    def claim(self, stage: str, episode_id: str, worker: str, lease_seconds: float) -> Lease | None:
        """Compare-and-set: the first `dispatched` unit of this episode and stage, else the first `waiting` one, becomes
        `running` under a new token. None when nothing is claimable, control forbids it, or the worker is draining or
        unknown, or what it may cost does not fit under a ceiling.

        A worker whose device is no CPU, or a CPU that has a price, gets no chunk that was approved because a CPU costs
        nothing. While no CPU worker without a price is up or at it, that transcription waits for its approval again,
        without its chunks."""
        ...

    def renew(self, lease: Lease, lease_seconds: float) -> None:
        """So long from now. Raises LeaseLost also where that does not fit under a ceiling: the unit was taken back
        then, without a loss."""
        ...

    def hand_back(self, lease: Lease, received: int = 0) -> None:
        """`waiting` again, no attempt and no loss charged. received: bytes that came in under the lease, here and
        below."""
        ...

    def delay(self, lease: Lease, reason: str, seconds: float, attempted: bool = True, received: int = 0) -> None: ...
    def end(self, lease: Lease, state: State, reason: str, received: int = 0) -> None:
        """`failed` or `refused`. A failed fetch fails the transcribe row that was held for it. Of an episode with a
        failed chunk those that nobody has begun are `held`, until it starts over."""
        ...

    def commit_fetch(self, lease: Lease, audio: FetchedAudio, wall_seconds: float, received: int | None = None) -> None:
        """`done`, with a projection to make; the episode learns its audio in `projected`. received: None: as much as
        the audio has."""
        ...

    def commit_plan(self, lease: Lease, folder: str, spans: Sequence[Span], wall_seconds: float) -> None:
        """`done`, with plan.json to project. `folder` holds `plan.json` and the chunks' audio `<n>.flac`; it is kept in
        the transcribe row's params as `plan`. The transcribe row that was held for it gets these chunks and waits."""
        ...

    def commit_chunk(self, lease: Lease, part_key: str, took: Decoded, lease_seconds: float) -> Lease | None:
        """`done`; resets the losses of the episode's units, adds what it took to the day's figures. The last one gets
        the lease of the join, else None."""
        ...

    def decode_instead(self, lease: Lease) -> None:
        """The chunk was for the publisher's transcript, which cannot be used, or nobody has approved its decoding: it
        goes, and the transcription asks for decoding (`publisher` False in its params), so it waits for approval or
        plan. The same where it was for another episode's transcript, whose id is kept in `not_from`: a third episode
        with this audio may still have one."""
        ...

    def parts(self, episode_id: str) -> list[str]:
        """The committed part keys of an episode, by chunk."""
        ...

    def lose_parts(self, lease: Lease, part_keys: Sequence[str], reason: str) -> None:
        """These parts are gone or unreadable, says the join under its lease: their chunks are `waiting` again and the
        join goes, to be made after the last of them. A loss of the transcription; past the stage's losses the chunks
        are `failed`."""
        ...

    def commit_transcript(self, lease: Lease, files: TranscriptFiles) -> None:
        """Ends the join and the transcribe row, with a projection to make. `files.kept` becomes the row's reason."""
        ...

    def unprojected(self, limit: int, stage: str | None = None, episode_id: str | None = None) -> list[Projection]:
        """Committed units whose fixed names are not written yet."""
        ...

    def projected(self, projection: Projection) -> bool:
        """The objects lie under their fixed names: the episode says so, and a transcribe row that was held for the
        audio becomes `waiting` with one chunk. Saying it twice changes nothing, nor does saying it of what was done
        over since: returns whether it was the first."""
        ...

    def postpone(self, projection: Projection) -> None:
        """It cannot be made now: `unprojected` gives it after all others."""
        ...

    def redo(self, projection: Projection, reason: str) -> bool:
        """What was committed is gone before it had its fixed name: the unit is `waiting` again, a transcription with
        all its chunks; a loss, and past the stage's losses `failed`. A plan that a chunk was decoded by has served and
        stays as it is. Returns False when it is projected already."""
        ...

    def reconcile(self, dispatch_seconds: float) -> Reconciled:
        """Expired leases → `waiting` (a loss), dispatches unclaimed for `dispatch_seconds` → `waiting`, due delayed
        → `waiting`; units past their stage's losses → `failed`. A unit that lost several workers in a row is `delayed`
        first (domain.work.wait_after_loss)."""
        ...

    def expire_worker(self, worker: str) -> int:
        """The worker is dead: its leases go back now (a loss each, as in `reconcile`). Returns how many."""
        ...

    def leftovers(self, older_than: float, limit: int) -> list[Leftover]:
        """What attempts left behind that were lost before that time: each loss of a lease notes one."""
        ...

    def cleared(self, leftovers: Sequence[Leftover]) -> None:
        """They are swept: forgets them."""
        ...

    def retry_failed(self, stage: str | None, host: str | None) -> int:
        """Failed rows start over with fresh attempts, and nothing that was made by others is made again: a join that
        failed is joined once more. Returns how many."""
        ...

    def over_budget(self, limit: int) -> list[OverBudget]:
        """Transcriptions that are held by a ceiling, the ceiling of an episode or of a run: those that came first."""
        ...

    def release_over_budget(self, but: Collection[str] = ()) -> int:
        """Transcriptions that were held by a ceiling wait again, and are asked again at their next claim. Returns how
        many. but: runs; what their own ceilings hold stays held."""
        ...
