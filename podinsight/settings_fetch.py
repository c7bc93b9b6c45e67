"""The settings of fetching: who we say we are, what hosts bear, how long and how large (F5 to F9, F12)."""

from typing import Final, Literal

from pydantic import ByteSize, Field
from pydantic_settings import BaseSettings

from podinsight import __version__, topology
from podinsight.settings_values import (
    Contact,
    HostAddressMap,
    HostLimitMap,
    HostRateMap,
    Hosts,
    Positive,
    Seconds,
    Size,
)

_GIB: Final = 2**30
_MIB: Final = 2**20


class FetchSettings(BaseSettings):
    """A part of Settings, which says where values come from."""

    contact: Contact = Field(
        default="", description="Page or mailbox that publishers see in the user agent; good manners."
    )
    allowed_hosts: Hosts = Field(
        default=(), description="Hosts that may be requested although they resolve to private or loopback addresses."
    )
    host_addresses: HostAddressMap = Field(
        default_factory=dict,
        description="Addresses by host name or suffix (`mirror.lan=10.0.0.5`), used instead of asking DNS.",
    )
    host_limits: HostLimitMap = Field(
        default_factory=lambda: dict(topology.DEFAULT_HOST_LIMITS),
        description="Requests at a time by domain suffix (`megaphone.fm=5,libsyn.com=3`), on top of the defaults.",
    )
    default_host_limit: Positive = Field(
        default=topology.DEFAULT_HOST_LIMIT, description="Requests at a time at any other host."
    )
    host_rates: HostRateMap = Field(
        default_factory=dict, description="Requests a second by domain suffix (`libsyn.com=2.5`)."
    )
    default_host_rate: Seconds = Field(
        default=topology.DEFAULT_HOST_RATE, description="Requests a second at any other host."
    )
    gate_lease_seconds: Seconds = Field(
        default=12, description="How long a request's place at a host holds without being renewed."
    )
    gate_renew_seconds: Seconds = Field(
        default=4, description="How often such a place is renewed; less than half of gate_lease_seconds."
    )
    gate_patience_seconds: Seconds = Field(
        default=2, description="How long a worker slot waits for a place; then the episode waits in the database."
    )
    gate_quiet_seconds: Seconds = Field(
        default=60, description="How long a host that answered 429 or 503 must be quiet for each step back up."
    )
    connect_seconds: Seconds = Field(default=10, description="Longest wait for a connection.")
    read_seconds: Seconds = Field(default=30, description="Longest silence within a response.")
    fetch_seconds: Seconds = Field(default=900, description="Longest fetch of one episode; then it is given up.")
    max_audio_bytes: Size = Field(default=ByteSize(4 * _GIB), description="Largest audio that is fetched, e.g. `4GiB`.")
    max_feed_bytes: Size = Field(default=ByteSize(64 * _MIB), description="Largest feed that is read, e.g. `64MiB`.")

    max_transcript_bytes: Size = Field(
        default=ByteSize(4 * _MIB), description="Largest publisher transcript that is read, e.g. `4MiB`."
    )
    publisher_transcripts: Literal["use", "keep", "ignore"] = Field(
        default="use", description="use: instead of the GPU when they pass the check; keep: only fetch them; ignore."
    )

    @property
    def user_agent(self) -> str:
        """What publishers see, e.g. `PodInsight/0.1.0 (+https://example.org/bot)`."""
        return f"PodInsight/{__version__}" + (f" (+{self.contact})" if self.contact else "")
