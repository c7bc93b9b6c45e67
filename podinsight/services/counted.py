"""A fetcher that counts what comes in: whoever pays for bytes pays for those of a download that failed as well (G1)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

from podinsight.domain.feed import Document
from podinsight.ports import Body, Fetcher, Piece


class Counted:
    """ports.Fetcher over another one, for one piece of work.

    received: bytes of bodies so far, decoded; what came twice, because a body started over, counts twice. Of a document
    that breaks off nothing is counted.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self.received = 0

    def document(
        self, url: str, etag: str | None = None, last_modified: str | None = None, user_agent: str | None = None
    ) -> Document:
        """See ports.Fetcher."""
        return self._weighed(self._fetcher.document(url, etag, last_modified, user_agent))

    def transcript(self, url: str, user_agent: str | None = None) -> Document:
        """See ports.Fetcher."""
        return self._weighed(self._fetcher.transcript(url, user_agent))

    @contextmanager
    def audio(self, url: str, user_agent: str | None = None) -> Iterator[Body]:
        """See ports.Fetcher."""
        with self._fetcher.audio(url, user_agent) as body:
            yield replace(body, pieces=self._counted(body.pieces))

    def _weighed(self, document: Document) -> Document:
        if document.body is not None:
            self.received += _size(document.body)
        return document

    def _counted(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            self.received += len(piece.data)
            yield piece


def _size(body: BinaryIO) -> int:
    """Bytes of a body that nobody has begun to read."""
    size = body.seek(0, os.SEEK_END)
    body.seek(0)
    return size
