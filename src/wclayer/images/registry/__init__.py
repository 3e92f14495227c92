"""Images in registries: a client of the distribution API over urllib3."""

from wclayer.images.registry.login import log_in, log_out
from wclayer.images.registry.options import Credentials, RegistryOptions
from wclayer.images.registry.source import RegistrySource
from wclayer.images.registry.target import RegistryTarget

__all__ = ["Credentials", "RegistryOptions", "RegistrySource", "RegistryTarget", "log_in", "log_out"]
