"""Registries to test with, our own with faults and Debian's, and the programs of others."""

from tests.images.registry.access import Access
from tests.images.registry.clients import Containerd, skopeo, umoci
from tests.images.registry.debian import DebianRegistry
from tests.images.registry.exchange import CutConnectionError, Reply, Request
from tests.images.registry.fake import FakeRegistry
from tests.images.registry.faults import Fault

__all__ = [
    "Access",
    "Containerd",
    "CutConnectionError",
    "DebianRegistry",
    "FakeRegistry",
    "Fault",
    "Reply",
    "Request",
    "skopeo",
    "umoci",
]
