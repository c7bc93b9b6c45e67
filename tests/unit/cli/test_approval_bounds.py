"""An approval is for what was quoted, and for nothing else (T2)."""

import json
import threading
from collections.abc import Sequence

import pytest
from click.testing import Result
from sqlalchemy import update

from podinsight.adapters.database import SqlStore
from podinsight.adapters.database.catalogue_tables import episodes
from podinsight.cli import run as run_module
from podinsight.cli.approval import Gate
from podinsight.cli.session import Session
from podinsight.cli.wish import Wish
from podinsight.domain.episode import Episode
from podinsight.domain.quote import FREE_RULE
from podinsight.domain.work import Lease, State
from tests.support.stack import wait_for
from tests.unit.cli.desk import Desk
from tests.unit.cli.test_approval import TRANSCRIBE, approvals, approved_by, fetched, rows, waiting

ASKED = (State.HELD, "waits for approval")


@pytest.fixture
def rented(desk: Desk) -> Desk:
    """Three episodes of a second are downloaded, and a live worker decodes on a GPU."""
    fetched(desk)
    desk.start_worker("plan")
    desk.start_worker("gpu", "cuda")
    return desk


def publish(desk: Desk, episode: Episode, language: str | None = None) -> None:
    """A transcript of the publisher's was accepted; its object is not there."""
    found: dict[str, object] = {"url": "https://x/", "type": "text/vtt", "language": language, "accepted": True}
    found |= {"key": f"raw/x/{episode.folder}/transcripts/0.vtt", "reason": ""}
    assert isinstance(desk.store, SqlStore)
    with desk.store.db.write() as conn:
        conn.execute(update(episodes).where(episodes.c.id == episode.id).values(publisher=[found], audio_seconds=9.0))


def claim(desk: Desk, episode: Episode) -> Lease:
    lease = desk.store.work.claim("transcribe", episode.id, "gpu-1", 90.0)
    assert lease is not None
    return lease


def approve_all(desk: Desk, *words: str) -> int:
    """`podrun transcribe --yes`; returns how many were quoted."""
    said = json.loads(desk.run(*TRANSCRIBE, "--yes", "--by", "ada", *words, "--json").stdout)
    return int(said["quote"]["episodes"])


def test_what_the_publisher_answers_gets_no_stamp_of_the_others(rented: Desk) -> None:
    two = rented.episodes()[1]
    publish(rented, two)
    assert approve_all(rented) == 2
    assert sorted(approved_by(rented), key=str) == [None, "ada", "ada"]
    rented.store.work.decode_instead(claim(rented, two))
    assert (waiting(rented), rows(rented)[1]) == (1, ASKED)


@pytest.mark.parametrize("words", [(), ("--language", "en")])
def test_what_waits_is_judged_by_its_own_params(rented: Desk, words: Sequence[str]) -> None:
    """Not by those of the command that comes upon it: it is quoted, or not approved."""
    two = rented.episodes()[1]
    publish(rented, two, "de" if words else None)
    rented.run("transcribe", two.id, "--model", "tiny.en", "--no-wait", *words)
    if not words:
        rented.store.work.decode_instead(claim(rented, two))
    assert waiting(rented) == 1
    assert approve_all(rented) == 3
    assert approved_by(rented) == ["ada"] * 3
    assert [row.episodes for row in approvals(rented)] == [3]


def test_another_model_than_quoted_goes_on_waiting(rented: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command queues it between the quote and the approval."""
    enqueue = run_module._enqueue

    def late(
        session: Session, wish: Wish, chosen: Sequence[Episode], stamp: str, gate: Gate, over: Sequence[Episode] = ()
    ) -> None:
        session.store.work.enqueue_transcribe([each.id for each in chosen], 5, {"model": "large-v3"})
        enqueue(session, wish, chosen, stamp, gate, over)

    monkeypatch.setattr(run_module, "_enqueue", late)
    result = rented.run(*TRANSCRIBE, "--yes", "--by", "ada")
    assert (result.exit_code, waiting(rented), approved_by(rented)) == (4, 3, [None] * 3)


def test_a_device_that_costs_nothing_is_asked_about_nothing(desk: Desk) -> None:
    """Words of the publisher's that cannot be used are decoded at once, as long as it is a CPU that does."""
    fetched(desk, 2)
    two = desk.episodes()[1]
    publish(desk, two)
    desk.start_worker("plan")
    desk.start_worker("gpu", "cpu")
    desk.run(*TRANSCRIBE)
    assert approved_by(desk) == [FREE_RULE] * 2
    desk.store.work.decode_instead(claim(desk, two))
    assert rows(desk)[1] == (State.HELD, "waits for its plan")


def test_a_follower_is_told_what_comes_to_wait(rented: Desk) -> None:
    two = rented.episodes()[1]
    publish(rented, two)
    results: list[Result] = []
    podrun = threading.Thread(
        target=lambda: results.append(rented.run("transcribe", two.id, "--model", "tiny.en")), daemon=True
    )
    podrun.start()
    wait_for(lambda: bool(rented.store.work.states("transcribe", [two.id])), 20, "it is queued")
    rented.store.work.decode_instead(claim(rented, two))
    podrun.join(20)
    assert not podrun.is_alive()
    (result,) = results
    assert result.exit_code == 4
    assert "held first-show/guid-2: waits for approval" in result.stdout
    assert f"1 transcription waits for approval: `podrun approve {two.id} --yes --by NAME --why " in result.stderr
    assert "0 failed" in result.stdout


@pytest.mark.parametrize(("declared", "asked"), [(None, 0), (0.6, 0), (0.4, 2)])
@pytest.mark.parametrize("later", [False, True])
def test_what_turns_out_far_longer_than_quoted_is_asked_about_again(
    desk: Desk, declared: float | None, asked: int, later: bool
) -> None:
    """Minutes that a feed declares as seconds: the episodes last one second each. What no feed declares was quoted
    with room to spare."""
    desk.run("feeds", "add", desk.serve_feed("/a", "First Show", 2))
    desk.start_worker("gpu", "cuda")
    assert isinstance(desk.store, SqlStore)
    with desk.store.db.write() as conn:
        conn.execute(update(episodes).values(duration=declared))
    words = ("fetch", "--transcribe", "--model", "tiny.en", "--no-wait")
    if later:
        desk.run(*words)
        desk.run("approve", "--all", "--yes", "--by", "ada")
    else:
        desk.run(*words, "--yes", "--by", "ada")
    assert (approved_by(desk), waiting(desk)) == (["ada"] * 2, 0)
    desk.start_worker()
    desk.run("fetch", "--no-wait")
    desk.work()
    assert waiting(desk) == asked
    assert rows(desk) == [ASKED if asked else (State.HELD, "waits for its plan")] * 2
    if asked:
        desk.run("approve", "--all", "--yes", "--by", "ada")
        assert rows(desk) == [(State.HELD, "waits for its plan")] * 2
