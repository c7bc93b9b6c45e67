"""Which of some episodes are still to be paid for, and the gate before them."""

from collections.abc import Mapping, Sequence

from podinsight.cli.approval import Gate, open_gate
from podinsight.cli.choosing import Standing
from podinsight.cli.session import Session
from podinsight.cli.wish import Wish
from podinsight.domain.episode import Episode
from podinsight.domain.publisher import usable


def gate_before(session: Session, wish: Wish, before: Mapping[str, Standing]) -> Gate:
    """What still has to be approved of these: transcriptions to make, and those that wait for it, each by its own
    params; not what the publisher's own transcript answers, nor one of the same audio, nor what cannot be fetched.

    before: stage → how its episodes stand.
    """
    found, gone, settings = before["transcribe"], lost(before), session.settings
    waiting = waiting_for_approval(session, found.open)
    new = _to_decode(session, wish, found)
    to_pay = [each for each in [*new, *(each for each in found.open if each.id in waiting)] if each.id not in gone]
    models = session.store.speech.models([each.id for each in to_pay if each.id in waiting])
    by_model: dict[str, list[Episode]] = {}
    for each in to_pay:
        by_model.setdefault(models.get(each.id, wish.model or settings.model), []).append(each)
    return open_gate(session, by_model, wish.yes, wish.by, wish.why)


def _to_decode(session: Session, wish: Wish, found: Standing) -> list[Episode]:
    """Of those to make, what is decoded as far as it is known: audio that is still to be fetched may be known audio."""
    settings, use = session.settings, session.settings.publisher_transcripts == "use"
    wishes = {each.id: wish.params(settings, each.feed_slug) for each in found.new + found.over}
    said = {each.id for each in found.new + found.over if use and usable(each, wishes[each.id])}
    shared = session.store.work.shared({each.id: wishes[each.id] for each in found.new if each.id not in said})
    return [each for each in found.new + found.over if each.id not in said and each.id not in shared]


def lost(before: Mapping[str, Standing]) -> set[str]:
    """Episodes whose fetch failed before: their transcriptions wait until that is started over."""
    return {episode.id for episode, _state, _reason in before["fetch"].failed} if "fetch" in before else set()


def waiting_for_approval(session: Session, episodes: Sequence[Episode]) -> set[str]:
    """The ids of those that wait for their approval."""
    return set(session.store.work.waiting_for_approval([each.id for each in episodes]))
