"""Which of some episodes are still to be paid for, and the gate before them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podinsight.cli.approval import Gate, open_gate
from podinsight.cli.choosing import Standing
from podinsight.cli.session import Session
from podinsight.cli.wish import Wish
from podinsight.domain.episode import Episode
from podinsight.domain.held import WAITS_FOR_TWIN
from podinsight.domain.publisher import usable


@dataclass(frozen=True)
class Unpaid:
    """What is still to be decoded. gate: with the quote of all of it; approved: how many of its episodes are approved
    already."""

    gate: Gate
    approved: int


def gate_before(session: Session, wish: Wish, before: Mapping[str, Standing]) -> Gate:
    """What still has to be approved of these: transcriptions to make, and those that wait for it, each by its own
    params; not what the publisher's own transcript answers, nor one of the same audio, nor what cannot be fetched.

    before: stage → how its episodes stand.
    """
    found = before["transcribe"]
    waiting = waiting_for_approval(session, found.open)
    return _gate(session, wish, before, [each for each in found.open if each.id in waiting])


def unpaid(session: Session, wish: Wish, before: Mapping[str, Standing]) -> Unpaid:
    """The same with what is approved and not done. An episode of which a part is decoded counts whole."""
    found = before["transcribe"]
    waiting = waiting_for_approval(session, found.open)
    rest = [each for each in found.open if each.id not in waiting]
    states = session.store.work.states("transcribe", [each.id for each in rest])
    use = session.settings.publisher_transcripts == "use"
    approved = {
        each.id
        for each in rest
        if states.get(each.id, (None, ""))[1] != WAITS_FOR_TWIN
        and not (use and usable(each, wish.params(session.settings, each.feed_slug)))
    }
    gate = _gate(session, wish, before, [each for each in found.open if each.id in waiting or each.id in approved])
    return Unpaid(gate, len(approved & set(gate.models)))


def _gate(session: Session, wish: Wish, before: Mapping[str, Standing], queued: Sequence[Episode]) -> Gate:
    """queued: what is to be quoted beside what has no row yet."""
    gone, settings = lost(before), session.settings
    to_pay = [each for each in [*_to_decode(session, wish, before["transcribe"]), *queued] if each.id not in gone]
    models = session.store.speech.models([each.id for each in queued])
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
