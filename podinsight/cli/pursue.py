"""Dispatching what was queued, following it to its end, and the summary."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from podinsight.cli import exits
from podinsight.cli.choosing import Standing, audio_seconds
from podinsight.cli.console import Output, complain, count, hours, size
from podinsight.cli.estimate import gpu_document, gpu_words
from podinsight.cli.exits import CommandError
from podinsight.cli.follow import Ending, Follower, Times
from podinsight.cli.goals import Meter, goals_document, goals_words
from podinsight.cli.progress import ending_document, ending_line, watcher
from podinsight.cli.session import Session
from podinsight.domain.held import OVER_BUDGET
from podinsight.domain.transcript import PUBLISHER
from podinsight.domain.work import State
from podinsight.errors import Unavailable
from podinsight.services.dispatch import dispatch

STAY_QUEUED = "what is not done stays queued and the workers go on with it: `podrun status` shows how far it is"
_DID = {"fetch": "fetched", "transcribe": "transcribed"}


@dataclass(frozen=True)
class Outcome:
    """What became of one stage. before: how it stood; endings: what ended while we followed."""

    before: Standing
    endings: tuple[Ending, ...]

    @property
    def done(self) -> list[Ending]:
        return [ending for ending in self.endings if ending.state is State.DONE]

    @property
    def kept(self) -> list[Ending]:
        """Those that were done in vain: a better transcript was there, and stays."""
        return [ending for ending in self.done if ending.stage == "transcribe" and ending.reason]

    @property
    def replaced(self) -> int:
        """How many took the place of a transcript that was there."""
        had = {each.id for each in self.before.to_do if each.transcript_key}
        return sum(1 for ending in self.done if ending.episode.id in had and not ending.reason)

    @property
    def failed(self) -> int:
        return len(self.endings) - len(self.done) - len(self._held) + len(self.before.failed)

    @property
    def waiting(self) -> list[Ending]:
        """What turned out to need an approval."""
        return [each for each in self._held if not each.reason.startswith(OVER_BUDGET)]

    @property
    def over_budget(self) -> list[Ending]:
        """What did not fit under its own ceiling or its run's."""
        return [each for each in self._held if each.reason.startswith(OVER_BUDGET)]

    @property
    def _held(self) -> list[Ending]:
        return [ending for ending in self.endings if ending.state is State.HELD]


def send(session: Session) -> None:
    """Fills free slots now, for beat would take seconds to. A broker that is away is told, not fatal: beat tries on."""
    try:
        dispatch(session.container.store, session.container.queue)
    except Unavailable as error:
        complain(f"{error}; the work is queued and is sent when the broker is back")


def pursue(
    session: Session,
    out: Output,
    before: Mapping[str, Standing],
    times: Times | None = None,
    when_cut_off: str = STAY_QUEUED,
) -> dict[str, Outcome]:
    """Dispatches and follows until every episode of each stage has ended.

    Args:
        before: stage → how its episodes stood.
        when_cut_off: what the error says when this ends early.

    Raises:
        CommandError: interrupted, or no worker was up for too long; the work stays queued.
    """
    for standing in before.values():
        for episode, state, reason in standing.failed:
            ending = Ending(standing.stage, episode, state, reason)
            out.line(f"{ending_line(ending)} (from before; `podrun retry --failed` starts it over)")
            out.data(ending_document(ending), indent=None)
    wanted = {stage: [each.id for each in standing.to_do] for stage, standing in before.items() if standing.to_do}
    endings: list[Ending] = []
    if wanted:
        send(session)
        follower = Follower(session.container.store, wanted, times or Times(), comes=session.comes)
        try:
            with watcher(out, {stage: len(ids) for stage, ids in wanted.items()}) as shown:
                for look in follower.looks():
                    endings += look.endings
                    shown.show(look)
        except KeyboardInterrupt:
            raise CommandError(f"interrupted; {when_cut_off}", exits.INTERRUPTED) from None
        except Unavailable as error:
            raise CommandError(f"{error}; {when_cut_off}", exits.NOT_UP) from error
    return {
        stage: Outcome(standing, tuple(ending for ending in endings if ending.stage == stage))
        for stage, standing in before.items()
    }


def summarise(
    session: Session, out: Output, outcomes: Mapping[str, Outcome], began: float, meter: Meter | None = None
) -> int:
    """Tells how it went and returns the exit code. began: `time.monotonic()` at the start; meter: set up then."""
    seconds = time.monotonic() - began
    document: dict[str, object] = {"event": "summary", "seconds": round(seconds, 3)}
    judged: list[str] = []
    for stage, outcome in outcomes.items():
        episodes = [ending.episode for ending in outcome.done]
        audio = audio_seconds(episodes)
        numbers = {"done": len(episodes), "failed": outcome.failed, "already": len(outcome.before.done)}
        words = [f"{_DID[stage]} {count(len(episodes), 'episode')}", f"{outcome.failed:,} failed"]
        words += [f"{len(outcome.before.done):,} there already"] if outcome.before.done else []
        if stage == "fetch":
            total = sum(episode.audio_bytes or 0 for episode in episodes)
            document[stage] = numbers | {"bytes": total, "audio_seconds": audio}
            words.append(size(total))
            if meter is not None:
                ended, traffic = (len(episodes), len(outcome.endings)), meter.settled(len(outcome.endings))
                document[stage] = numbers | {"bytes": total, "audio_seconds": audio} | goals_document(*ended, traffic)
                judged = goals_words(*ended, traffic)
        else:
            decoded = [each.episode for each in outcome.done if each.reason or each.episode.model != PUBLISHER]
            taken = len(episodes) - len(decoded)
            seconds_decoded = audio_seconds(decoded)
            kept, replaced = len(outcome.kept), outcome.replaced
            figures = {"audio_seconds": audio, "from_publisher": taken, "kept": kept, "replaced": replaced}
            document[stage] = numbers | figures | gpu_document(session.settings, seconds_decoded)
            words += [f"{taken:,} of them from the publisher"] if taken else []
            words += [f"{count(replaced, 'transcript')} replaced"] if replaced else []
            words += [f"{count(kept, 'better transcript')} kept"] if kept else []
            words += [f"{hours(audio)} of audio", gpu_words(session.settings, seconds_decoded)] if episodes else []
        out.line(", ".join(words))
    out.data(document, indent=None)
    for line in judged:
        out.line(line)
    out.line(f"took {seconds:.1f} s")
    failed = any(outcome.failed for outcome in outcomes.values())
    if failed:
        out.line("`podrun status` says what failed and why; `podrun retry --failed` starts it over")
    return exits.FAILED if failed else exits.OK
