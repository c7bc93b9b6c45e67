"""One body through as many requests as it takes: breaks are resumed with Range and If-Range, or it starts over."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from podinsight.adapters.guarded_http import Deadline
from podinsight.adapters.http_answers import Broken, Kind, refuse_html
from podinsight.adapters.http_body import Answer
from podinsight.adapters.http_client import HttpClient
from podinsight.domain.identity import host_of, redact_url
from podinsight.errors import Busy, Permanent, Transient
from podinsight.ports import Piece

T = TypeVar("T")

FIRST_TRIES: Final = 3
BREAKS_WITHOUT_PROGRESS: Final = 3
MOST_RESUMPTIONS: Final = 50
MOST_RESTARTS: Final = 3
SHORT_WAIT: Final = 5.0  # seconds: a gate that is busy for longer is not waited for with a half body in hand
PAUSE: Final = wait_exponential_jitter(multiplier=0.2, max=2.0, jitter=0.2)
RANGED: Final = frozenset({206, 416})
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)


def tried(call: Callable[[], T], deadline: Deadline) -> T:
    """The result of `call`; quick connection failures are tried again a couple of times."""
    quick = retry_if_exception(lambda error: isinstance(error, Broken) and error.quick)
    retrying = Retrying(
        retry=quick, stop=stop_after_attempt(FIRST_TRIES), wait=PAUSE, sleep=deadline.wait, reraise=True
    )
    return retrying(call)


class Download:
    """The audio at a URL, in a `with` block. Between requests it holds no permit.

    It goes on where it broke when the server says that it is still the same file: the same strong ETag again, else the
    same Last-Modified, which a 206 may leave out (RFC 9110, 15.3.7) when it comes from the same place. Otherwise, for
    encoded bodies, and when ranges and bytes disagree, it starts over: the next piece has the offset 0. It gives up
    after BREAKS_WITHOUT_PROGRESS in a row that brought no byte beyond the furthest so far, MOST_RESUMPTIONS in all,
    MOST_RESTARTS, or at the deadline.
    """

    def __init__(self, client: HttpClient, url: str, headers: Mapping[str, str], deadline: Deadline) -> None:
        self._client, self._url, self._headers, self._deadline = client, url, headers, deadline
        self._open = ExitStack()
        self._at = self._furthest = 0
        self._misses = self._resumptions = self._restarts = 0
        self._total: int | None = None
        self._end: int | None = None  # of the answer that is read now; never beyond _total
        self._final_url = ""
        self._validators = ("", "")
        self._validator = ""

    def __enter__(self) -> "Download":
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def begin(self) -> Answer:
        """The first answer."""
        self._begin_with(tried(self._ask, self._deadline))
        return self._answer

    def pieces(self) -> Iterator[Piece]:
        """Raises Transient when the body cannot be had whole, Permanent when it is empty or too large."""
        while True:
            try:
                yield from self._rest()
                return
            except Broken as error:
                broken = error
            if self._at != self._total:
                self._resume(broken)
            if self._at == self._total:
                return

    def _rest(self) -> Iterator[Piece]:
        for data in self._answer.pieces(self._at):
            if self._end is not None and self._at + len(data) > self._end:
                self._validator = ""  # whose bytes these are nobody knows: from the start again
                raise Broken(f"more bytes than the range that was announced: {self._where()}", quick=True)
            piece = Piece(self._at, data)
            self._at += len(data)
            yield piece
        total = self._total or self._end or 0
        if self._at < total:  # a 206 may give less than was asked for
            raise Broken(f"the body ended after {self._at} of {total} bytes: {self._where()}", quick=True)
        if self._at == 0:
            raise Permanent(f"empty: no bytes from {self._answer.where()}")

    def _resume(self, broken: Transient) -> None:
        """Opens the rest, or the whole again, or learns that there is no rest: then _at is _total."""
        while True:
            self._open.close()
            self._count(broken)
            self._deadline.wait(_pause(self._misses))
            try:
                self._reopen()
                return
            except Broken as error:
                broken = error
            except Busy as error:
                if error.seconds > SHORT_WAIT:
                    raise
                broken = Transient(str(error))

    def _count(self, broken: Transient) -> None:
        if self._at > self._furthest:
            self._furthest, self._misses = self._at, 0
        else:
            self._misses += 1
        self._resumptions += 1
        if self._misses >= BREAKS_WITHOUT_PROGRESS or self._resumptions > MOST_RESUMPTIONS:
            raise self._given_up(broken)

    def _given_up(self, reason: Transient) -> Transient:
        of = f" of {self._total}" if self._total is not None else ""
        return Transient(f"{reason} (given up after {self._resumptions} breaks with {self._furthest}{of} bytes)")

    def _reopen(self) -> None:
        if self._at and self._validator:
            answer = self._ask({"Range": f"bytes={self._at}-", "If-Range": self._validator})
            if self._continues(answer):
                self._answer = answer
                return
            if answer.status == 416 and answer.header("Content-Range") == f"bytes */{self._at}":
                if self._total is not None:
                    # All of the file is here and Content-Length was wrong: asking again would end here again.
                    raise Transient(f"the body ended after {self._at} of {self._total} bytes: {self._where()}")
                if not self._contradicts(answer):
                    self._total = self._at  # it came whole: only the mark of its end was missing
                    return
            if answer.status in RANGED:
                self._open.close()
                answer = self._ask()
        else:
            answer = self._ask()
        self._begin_with(answer)

    def _ask(self, conditions: Mapping[str, str] | None = None) -> Answer:
        also = RANGED if conditions else frozenset()
        headers = {**self._headers, **(conditions or {})}
        return self._open.enter_context(self._client.get(self._url, headers, Kind.AUDIO, self._deadline, also))

    def _begin_with(self, answer: Answer) -> None:
        """A whole body from its first byte."""
        if self._at:
            self._restarts += 1
            if self._restarts > MOST_RESTARTS:
                raise Transient(f"the audio started over {MOST_RESTARTS} times: {self._where()}")
        refuse_html(answer.mime, answer.url)
        declared = answer.declared
        answer.check_size(declared or 0)
        if declared == 0:
            raise Permanent(f"empty: no bytes from {answer.where()}")
        self._answer, self._at = answer, 0
        self._total = self._end = None if answer.encoding else declared
        self._final_url = answer.url
        etag = answer.header("ETag")
        strong = etag if etag.startswith('"') else ""
        self._validators = (etag, answer.header("Last-Modified"))
        self._validator = "" if answer.encoding else strong or self._validators[1]

    def _continues(self, answer: Answer) -> bool:
        """Whether this is the rest of what has come so far, by all that the server says of it."""
        said = _CONTENT_RANGE.fullmatch(answer.header("Content-Range"))
        if answer.status != 206 or said is None or answer.encoding or not self._is_same_file(answer):
            return False
        start, end = int(said[1]), int(said[2]) + 1
        total = self._total if said[3] == "*" else int(said[3])
        if total != (self._total or total) or start != self._at or not start < end <= (total or end):
            return False
        if answer.declared not in (None, end - start):
            return False
        self._total, self._end = total, end
        return True

    def _is_same_file(self, answer: Answer) -> bool:
        if self._contradicts(answer):
            return False
        if self._validator == self._validators[0]:
            return bool(answer.header("ETag"))
        return bool(answer.header("Last-Modified")) or answer.url == self._final_url

    def _contradicts(self, answer: Answer) -> bool:
        """Whether it names another file than the first answer did."""
        now = (answer.header("ETag"), answer.header("Last-Modified"))
        return any(new and old and new != old for new, old in zip(now, self._validators, strict=True))

    def _where(self) -> str:
        return f"{host_of(self._url)} ({redact_url(self._url)})"


def _pause(misses: int) -> float:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = misses + 1
    return float(PAUSE(state))
