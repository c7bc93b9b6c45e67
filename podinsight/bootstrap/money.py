"""The cost guard: what things cost, what the fleet is, who is told."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from podinsight.adapters import price_file
from podinsight.adapters.apprise_notifier import AppriseNotifier, unusable
from podinsight.adapters.clock import SystemClock
from podinsight.adapters.local_fleet import LocalFleet
from podinsight.adapters.memory import NoBilling, NoPrices
from podinsight.bootstrap.speech import decoding_device
from podinsight.domain.alerts import Severity
from podinsight.domain.money import micros
from podinsight.domain.pool import Rules
from podinsight.domain.prices import CPU, CUDA, LOCAL, Price, PriceBook, Terms
from podinsight.errors import ConfigError
from podinsight.ports import Billing, Clock, Fleet, LivePrices, Notifier, StatusStore
from podinsight.services import pricing
from podinsight.services.emergency import EmergencyPorts
from podinsight.services.guard import GuardPorts, GuardRules
from podinsight.services.join import KpiPrices
from podinsight.services.resume import ResumePorts
from podinsight.settings import Settings
from podinsight.settings_sources import closest, variable

if TYPE_CHECKING:
    from podinsight.bootstrap import Container

_NAMED: Final = 3  # machines that a warning names
_SLOW: Final = 4.0  # a worker may take so many times a chunk's length for it


def price_book(settings: Settings) -> PriceBook:
    """What things cost: the list prices, over them those of prices_file, over both what settings say of devices.

    A machine's own CPU costs nothing until somebody says so. The list prices of what is paid beside machines (NAT,
    storage …) hold in the cloud that they are of alone: where raw audio or staged results lie on S3 with no endpoint
    of somebody else's. What prices_file says holds anywhere.

    Raises:
        ConfigError: prices_file cannot be read, or is wrong.
    """
    listed = price_file.shipped()
    cloud = in_cloud(settings)
    lower = PriceBook({CPU: LOCAL, **listed.devices}, listed.services if cloud else {}, cloud)
    if settings.prices_file is not None:
        lower = price_file.read(settings.prices_file).over(lower)
    hours = {CPU: ("cpu_hour_usd", settings.cpu_hour_usd), CUDA: ("gpu_hour_usd", settings.gpu_hour_usd)}
    given = {
        kind: Price(micros(str(usd)), "settings")
        for kind, (name, usd) in hours.items()
        if name in settings.model_fields_set
    }
    return PriceBook(given, {}).over(lower)


def doubts(settings: Settings) -> tuple[str, ...]:
    """What may be mistyped in prices_file, in one line for people: machines that the shipped list does not have. They
    may be another cloud's, so this is no error.

    Raises:
        ConfigError: as `price_book`.
    """
    if settings.prices_file is None:
        return ()
    known = {CPU, *price_file.shipped().devices}
    strange = sorted(price_file.read(settings.prices_file).devices.keys() - known)
    if not strange:
        return ()
    named = ", ".join(f"{each} (nearest: {closest(each, known)})" for each in strange[:_NAMED])
    more = f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else ""
    return (f"prices_file has machines that are not in the shipped list: {named}{more}; a mistyped one prices nothing",)


def in_cloud(settings: Settings) -> bool:
    """Whether objects are kept, and so everything beside them runs, at AWS."""
    areas = settings.area_urls()
    return settings.s3_endpoint is None and any(areas[each].startswith("s3://") for each in ("raw", "stage"))


def terms(settings: Settings) -> Terms:
    """By what work is reserved and settled."""
    return Terms(
        price_book(settings),
        settings.limits(),
        settings.gpu_speed / 3,
        settings.fetch_seconds,
        settings.max_audio_bytes,
    )


def kpi_prices(settings: Settings) -> KpiPrices:
    """What kpis.json reckons with: the ledger's prices."""
    return KpiPrices(price_book(settings), settings.gpu_speed)


def build_fleet(settings: Settings, store: StatusStore, clock: Clock) -> Fleet:
    """The gpu workers that are started and stopped."""
    rate = partial(pricing.hour, price_book(settings), build_prices(settings))

    def device() -> str:
        return settings.device if settings.device != "auto" else decoding_device(settings)

    most, silent = settings.gpu_workers, settings.worker_stale_seconds
    return LocalFleet(store, clock, most, silent, rate, device=device)


def build_prices(_settings: Settings) -> LivePrices:
    """What machines cost now: of a laptop nobody says."""
    return NoPrices()


def guard_ports(settings: Settings, world: "Container") -> GuardPorts:
    """What the cost guard works with."""
    fleet = build_fleet(settings, world.store, world.clock)
    notifier, billing = build_notifier(settings), build_billing(settings)
    return GuardPorts(world.store, fleet, world.objects, world.clock, notifier, billing, price_book(settings))


def resume_ports(settings: Settings, store: StatusStore) -> ResumePorts:
    """What a resume works with: no broker and no objects."""
    clock = SystemClock()
    rules = guard_rules(settings).fleet
    said = 3 * settings.scale_every_seconds + settings.stop_seconds  # the scaler says it each time
    return ResumePorts(store, build_fleet(settings, store, clock), clock, rules.launch, said)


def emergency_ports(
    settings: Settings, store: StatusStore, left: Callable[[], Sequence[str]], pause: Callable[[], None]
) -> EmergencyPorts:
    """What an emergency shutdown works with: the database, and who is to be told; no broker."""
    clock = SystemClock()
    fleet = build_fleet(settings, store, clock)
    return EmergencyPorts(store, fleet, clock, left, pause, lambda: build_notifier(settings))


def build_notifier(settings: Settings) -> Notifier:
    """Who tells people, for one round of telling."""
    return AppriseNotifier(_notified(settings))


def check(settings: Settings) -> None:
    """Reads what settings name, so that it is known before anything starts.

    Raises:
        ConfigError: prices_file or an address of whom to tell cannot be used.
    """
    price_book(settings)
    notified_services(settings)


def notified_services(settings: Settings) -> dict[Severity, tuple[str, ...]]:
    """What kinds of service are told, by severity; sends nothing. Loads Apprise, if there is an address at all.

    Raises:
        ConfigError: an address that cannot be used; the text names the setting, and never shows the address.
    """
    urls = _notified(settings)
    faults = [
        f"{variable(f'notify_{severity.value}')}: its address number {number} is none that Apprise can use "
        "(docs/costs.md shows what they look like)"
        for severity, found in urls.items()
        for number in unusable(found)
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    notifier = AppriseNotifier(urls)
    return {severity: notifier.services(severity) for severity in urls}


def _notified(settings: Settings) -> dict[Severity, list[str]]:
    told = {
        Severity.CRITICAL: settings.notify_critical,
        Severity.WARNING: settings.notify_warning,
        Severity.SUMMARY: settings.notify_summary,
    }
    return {severity: [url.get_secret_value() for url in urls] for severity, urls in told.items()}


def build_billing(_settings: Settings) -> Billing:
    """The provider's bill: a laptop has none."""
    return NoBilling()


def guard_rules(settings: Settings) -> GuardRules:
    """The settable part of the cost guard."""
    fleet = Rules(
        most=settings.gpu_workers,
        drain=settings.fleet_drain_seconds,
        patience=settings.fleet_patience_seconds,
        grace=settings.fleet_grace_seconds,
        settle=settings.fleet_settle_seconds,
        start=settings.fleet_start_seconds,
        sweep=max(settings.sweep_every_seconds, settings.scale_every_seconds),
        stop=settings.stop_seconds,
        stall=max(settings.progress_seconds, _SLOW * settings.chunk_seconds),
        least_billed=0.0,  # of a process
        lease=settings.lease_seconds,
    )
    return GuardRules(
        settings.limits(),
        fleet,
        settings.fleet_scales,
        settings.gpu_speed,
        settings.model,
        settings.economy_hold_seconds,
        settings.halt(),
        settings.economy_from(),
    )
