"""Whoever tells people tells each once, says when he could not, and knows when nobody is to be told (O7)."""

import json
import uuid
from collections.abc import Collection, Iterator
from typing import Protocol

import pytest

from podinsight.adapters.apprise_notifier import AppriseNotifier
from podinsight.adapters.memory import MemoryNotifier
from podinsight.domain.alerts import Alert, Severity
from podinsight.errors import Unavailable
from podinsight.ports import Notifier
from tests.support.webserver import Reply, WebServer

SECRET = "tok3nthatNobodyMaySee"


class People(Protocol):
    """Somebody who is told of some severities."""

    def notifier(self, quiet: Collection[Severity] = ()) -> Notifier: ...
    def heard(self) -> list[str]:
        """The titles of what arrived, in order."""
        ...

    def deaf(self, alert: Alert) -> None:
        """This alert cannot be delivered."""
        ...

    def hears(self, alert: Alert) -> None: ...


class MemoryPeople:
    def __init__(self) -> None:
        self._made = MemoryNotifier()

    def notifier(self, quiet: Collection[Severity] = ()) -> Notifier:
        self._made.quiet = set(quiet)
        return self._made

    def heard(self) -> list[str]:
        return [each.title for each in self._made.told]

    def deaf(self, alert: Alert) -> None:
        self._made.down.add(alert.key)

    def hears(self, alert: Alert) -> None:
        self._made.down.discard(alert.key)


class WebPeople:
    """A webhook of every severity."""

    def __init__(self, web: WebServer) -> None:
        self._web = web
        self.hears(alert())

    def notifier(self, quiet: Collection[Severity] = ()) -> Notifier:
        url = f"json://ada:{SECRET}@127.0.0.1:{self._web.port}/{SECRET}"
        return AppriseNotifier({each: [] if each in quiet else [url] for each in Severity})

    def heard(self) -> list[str]:
        said = [json.loads(each.body)["title"] for each in self._web.requests() if self._web_took]
        return [title.removeprefix("podinsight: ") for title in said]

    def deaf(self, alert: Alert) -> None:
        self._web_took = False
        self._web.fail(f"/{SECRET}", 500)

    def hears(self, alert: Alert) -> None:
        self._web_took = True
        self._web.answer(f"/{SECRET}", Reply(b"ok"))


def alert(severity: Severity = Severity.WARNING, title: str = "GPU work is frozen") -> Alert:
    return Alert(uuid.uuid4().hex, severity, title, "why")


@pytest.fixture(params=["memory", "apprise"])
def people(request: pytest.FixtureRequest) -> Iterator[People]:
    if request.param == "memory":
        yield MemoryPeople()
        return
    with WebServer() as web:
        yield WebPeople(web)


@pytest.mark.parametrize("severity", list(Severity))
def test_somebody_is_told(people: People, severity: Severity) -> None:
    assert people.notifier().send(alert(severity, "one"))
    assert people.heard() == ["one"]


def test_nobody_is_to_be_told(people: People) -> None:
    notifier = people.notifier(quiet=[Severity.SUMMARY])
    assert not notifier.send(alert(Severity.SUMMARY))
    assert notifier.send(alert(title="another"))
    assert people.heard() == ["another"]


def test_who_could_not_be_told_is_told_at_the_next_try(people: People) -> None:
    """And no address is said."""
    said = alert(title="twice")
    people.deaf(said)
    with pytest.raises(Unavailable) as caught:
        people.notifier().send(said)
    assert "could not be told" in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert people.heard() == []
    people.hears(said)
    assert people.notifier().send(said)
    assert people.heard()[-1] == "twice"
