"""What people and the fleet see of the work rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from podinsight.domain.work import State


@dataclass(frozen=True)
class StageCount:
    stage: str
    state: State
    count: int


@dataclass(frozen=True)
class WorkView:
    """A row for a person: what runs, what failed and why. `until`: when a delayed one is due."""

    episode_id: str
    feed_slug: str
    title: str
    stage: str
    state: State
    reason: str
    host: str
    attempts: int
    losses: int
    worker: str | None
    since: float
    until: float | None = None


@dataclass(frozen=True)
class Demand:
    """What a stage has to do now. Only runnable and leased units count: what is held or delayed wants no worker.

    seconds: of audio in them, as far as it is known.
    """

    waiting: int
    in_flight: int
    seconds: float


class WorkViews(Protocol):
    """The part of WorkRows that is looked at."""

    def demand(self, stage: str) -> Demand:
        """What the workers of a stage have to do; flat however many rows there are."""
        ...

    def counts(self) -> list[StageCount]:
        """Episodes by stage and state, from the lanes: flat however many rows there are."""
        ...

    def states(self, stage: str, episode_ids: Sequence[str]) -> dict[str, tuple[State, str]]:
        """State and reason of each episode that has a row in this stage; `done` once its objects are in place."""
        ...

    def views(self, state: State, limit: int) -> list[WorkView]: ...
