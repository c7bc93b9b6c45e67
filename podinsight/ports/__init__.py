"""The ports: what services ask of the world. Each docstring is the contract; tests/contract runs it on every adapter.

Times are epoch seconds (UTC) as floats, spans and waits are seconds, sizes are bytes.
"""

from podinsight.ports.billing import Billing
from podinsight.ports.broker import JobQueue
from podinsight.ports.captions import CaptionParser
from podinsight.ports.clock import Clock
from podinsight.ports.control import ControlBoard
from podinsight.ports.economy import DearItem, EconomyRows
from podinsight.ports.fleet import Fleet
from podinsight.ports.guard import Alerts, Findings, Memory, Notifier, OpenFinding, PostedAlert
from podinsight.ports.intake import Holding, Intake
from podinsight.ports.interruptions import Interruptions
from podinsight.ports.money import Bearer, By, Entry, LedgerLine, OpenReservation, Purse, Reservation, Total
from podinsight.ports.objects import ObjectInfo, ObjectStore, ObjectWriter
from podinsight.ports.prices import LivePrices
from podinsight.ports.speech import Cutter, Heard, SpeechRequest, Stretch, Transcriber
from podinsight.ports.store import Catalogue, HostRow, Hosts, Metrics, SpeechBook, StatusStore
from podinsight.ports.table import SegmentTable
from podinsight.ports.web import Body, FeedParser, Fetcher, HostGate, MediaProbe, Piece, Probe
from podinsight.ports.work import Decoded, LeaseHolder, Leftover, OverBudget, Reconciled, WorkRows
from podinsight.ports.work_views import Demand, StageCount, WorkView
from podinsight.ports.workers import PoolSize, Workers, WorkerView

__all__ = [
    "Alerts",
    "Bearer",
    "Billing",
    "Body",
    "By",
    "CaptionParser",
    "Catalogue",
    "Clock",
    "ControlBoard",
    "Cutter",
    "DearItem",
    "Decoded",
    "Demand",
    "EconomyRows",
    "Entry",
    "FeedParser",
    "Fetcher",
    "Findings",
    "Fleet",
    "Heard",
    "Holding",
    "HostGate",
    "HostRow",
    "Hosts",
    "Intake",
    "Interruptions",
    "JobQueue",
    "LeaseHolder",
    "LedgerLine",
    "Leftover",
    "LivePrices",
    "MediaProbe",
    "Memory",
    "Metrics",
    "Notifier",
    "ObjectInfo",
    "ObjectStore",
    "ObjectWriter",
    "OpenFinding",
    "OpenReservation",
    "OverBudget",
    "Piece",
    "PoolSize",
    "PostedAlert",
    "Probe",
    "Purse",
    "Reconciled",
    "Reservation",
    "SegmentTable",
    "SpeechBook",
    "SpeechRequest",
    "StageCount",
    "StatusStore",
    "Stretch",
    "Total",
    "Transcriber",
    "WorkRows",
    "WorkView",
    "WorkerView",
    "Workers",
]
