"""The settings of money: prices, levels, the fleet that it pays for, and who is told (G1 to G8)."""

from decimal import Decimal
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from podinsight.domain.budget import Level, Limits
from podinsight.domain.levels import Halt
from podinsight.domain.money import Micros, micros
from podinsight.settings_values import AbsolutePath, AlertLevels, Count, Seconds, SecretUrls, StopLevel, Usd


class MoneySettings(BaseSettings):
    """A part of Settings, which says where values come from."""

    gpu_hour_usd: Usd = Field(
        default=Decimal("0.526"),
        description="Price of an hour of a worker with a GPU, in dollars; see also prices_file.",
    )
    gpu_speed: float = Field(
        default=12.0,
        gt=0,
        allow_inf_nan=False,
        description="Decoding speed of that GPU in times real time, until it was measured.",
    )
    cpu_hour_usd: Usd = Field(
        default=Decimal(0),
        description="Price of an hour of a transcription worker without a GPU; 0: the machine is there anyway.",
    )
    prices_file: AbsolutePath | None = Field(
        default=None, description="TOML file with prices that go over the list prices (docs/costs.md)."
    )
    alert_item_usd: AlertLevels = Field(
        default=(Decimal("2.50"),), description="Tell when an episode has cost so much; `none`: never."
    )
    stop_item_usd: StopLevel = Field(
        default=Decimal(3), description="An episode may cost no more: it is held; `none`: no such level."
    )
    halt_items: Count = Field(
        default=3,
        description="So many episodes held at their stop level within halt_seconds halt everything; 0: none do.",
    )
    halt_seconds: Seconds = Field(default=3600, description="Within how long; see halt_items.")
    halt_mean_usd: StopLevel = Field(
        default=Decimal(3),
        description="Everything is halted when a UTC day's episodes, three or more, have cost more than this on "
        "average; `none`: no such level.",
    )
    alert_day_usd: AlertLevels = Field(
        default=(Decimal(5), Decimal(15)), description="Tell when a UTC day has cost so much, everything together."
    )
    stop_day_usd: StopLevel = Field(default=None, description="A UTC day may cost no more, everything together.")
    alert_gpu_day_usd: AlertLevels = Field(default=(), description="Tell when GPU work of a UTC day has cost so much.")
    stop_gpu_day_usd: StopLevel = Field(
        default=Decimal(40), description="GPU work of a UTC day may cost no more: it is frozen."
    )
    alert_month_usd: AlertLevels = Field(
        default=(Decimal(50),), description="Tell when a UTC month has cost so much, everything together."
    )
    stop_month_usd: StopLevel = Field(
        default=Decimal(100), description="A UTC month may cost no more: everything is halted, GPU workers go."
    )
    alert_project_usd: AlertLevels = Field(
        default=(Decimal(40),), description="Tell when all days together have cost so much."
    )
    stop_project_usd: StopLevel = Field(default=None, description="All days together may cost no more.")
    economy_item_usd: StopLevel = Field(
        default=Decimal("2.50"),
        description="Economy mode begins when an episode has cost so much, or 80 % of its stop level if that is less; "
        "`none`: that alone.",
    )
    economy_hold_seconds: Seconds = Field(
        default=7200, description="In economy mode episodes with more audio than this wait until it ends."
    )

    fleet: Literal["local", "fixed"] = Field(
        default="local",
        description="local: gpu workers come with work and budget, at most gpu_workers, and go when there is none; "
        "fixed: gpu_workers of them run whether there is work or not, but for none while paid work is stopped.",
    )
    gpu_workers: Count = Field(
        default=1,
        description="Transcription worker processes, with or without a GPU: on this machine, or with fleet local on "
        "all together.",
    )
    fleet_drain_seconds: Seconds = Field(
        default=3600, description="In how long a backlog should be worked off; that decides how many workers there are."
    )
    fleet_patience_seconds: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="While no gpu worker runs and more work is on its way, work waits at most so long to share one "
        "start; 0: it never waits, as is right where a start costs nothing.",
    )
    fleet_grace_seconds: Seconds = Field(
        default=300, description="How long the last idle gpu worker stays, with its model loaded."
    )
    fleet_settle_seconds: Seconds = Field(
        default=60, description="How long fewer workers must have been enough before one of them goes."
    )
    fleet_start_seconds: Seconds = Field(default=15, description="How long a gpu worker takes to start.")
    scale_every_seconds: Seconds = Field(
        default=5, description="How often beat decides how many gpu workers there are."
    )
    sweep_every_seconds: Seconds = Field(
        default=60, description="How often beat looks at what is spent, what runs, and the stop levels."
    )
    daily_every_seconds: Seconds = Field(
        default=900, description="How often beat looks whether yesterday's costs are to be reported."
    )

    notify_critical: SecretUrls = Field(
        default=(), description="Who is told when work was stopped: Apprise URLs, separated by spaces."
    )
    notify_warning: SecretUrls = Field(
        default=(), description="Who is told of alert levels, findings, economy mode, pauses, halts and resumes."
    )
    notify_summary: SecretUrls = Field(default=(), description="Who gets the daily report.")

    @property
    def fleet_scales(self) -> bool:
        """Whether gpu workers come with work and go without it."""
        return self.fleet == "local"

    @property
    def decision_holds_seconds(self) -> float:
        """How long a decision about the number of gpu workers is good for. When none followed, those that are idle go
        (supervisor.database_line), and nobody should count on any to come."""
        return max(120.0, 10 * self.scale_every_seconds)

    def halt(self) -> Halt:
        """When episodes halt everything (G3)."""
        return Halt(self.halt_items, self.halt_seconds, _micros(self.halt_mean_usd))

    def economy_from(self) -> Micros | None:
        """Micro-dollars of an episode at which economy mode begins (G8)."""
        return _micros(self.economy_item_usd)

    def limits(self) -> Limits:
        """The levels of G3."""
        return Limits(
            item=_level(self.alert_item_usd, self.stop_item_usd),
            day=_level(self.alert_day_usd, self.stop_day_usd),
            gpu_day=_level(self.alert_gpu_day_usd, self.stop_gpu_day_usd),
            month=_level(self.alert_month_usd, self.stop_month_usd),
            project=_level(self.alert_project_usd, self.stop_project_usd),
        )


def _level(alerts: tuple[Decimal, ...], stop: Decimal | None) -> Level:
    return Level(tuple(micros(each) for each in alerts), _micros(stop))


def _micros(amount: Decimal | None) -> Micros | None:
    return None if amount is None else micros(amount)
