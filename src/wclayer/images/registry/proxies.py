"""`proxy_for`: the proxy that the environment names for a server (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY)."""

from __future__ import annotations

import contextlib
import ipaddress
from urllib.request import getproxies_environment

from wclayer.images.registry.origin import Origin, is_loopback


def proxy_for(origin: Origin) -> str:
    """Returns the proxy that the environment names for a server; "" if it is reached directly."""
    proxies = getproxies_environment()
    proxy = proxies.get(origin.scheme) or proxies.get("all", "")
    if not proxy or is_loopback(origin.host):
        return ""
    if any(_is_excepted(origin, part.strip().lower()) for part in proxies.get("no", "").split(",")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_excepted(origin: Origin, part: str) -> bool:
    """Returns whether a server belongs to a part of NO_PROXY: "*", a domain, HOST:PORT, an address or a network."""
    if not part:
        return False
    name, colon, port = part.rpartition(":")
    if colon and port.isdigit() and (name.endswith("]") or ":" not in name):
        if port != str(origin.port):
            return False
        part = name
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(origin.host) in ipaddress.ip_network(part.strip("[]"), strict=False)
    domain = part.removeprefix("*").removeprefix(".")
    return not domain or origin.host == domain or origin.host.endswith(f".{domain}")
