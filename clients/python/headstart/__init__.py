"""headstart for applications in Python: see docs/python.md."""

from headstart.client import Instance
from headstart.errors import (
    AlreadyClaimed,
    BridgeLost,
    Cancelled,
    ConnectionReset,
    Deadline,
    Diverged,
    HeadstartError,
    InstanceClosed,
    Miss,
    ProtocolError,
    Voided,
)
from headstart.ids import fnv1a64
from headstart.reply import Reply, Stream

__all__ = [
    "AlreadyClaimed",
    "BridgeLost",
    "Cancelled",
    "ConnectionReset",
    "Deadline",
    "Diverged",
    "HeadstartError",
    "Instance",
    "InstanceClosed",
    "Miss",
    "ProtocolError",
    "Reply",
    "Stream",
    "Voided",
    "fnv1a64",
]
