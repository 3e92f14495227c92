"""Archives of `docker save`, in the forms of all generations of Docker, podman and containerd."""

from wclayer.images.docker_archive.source import DockerArchiveSource
from wclayer.images.docker_archive.target import DockerArchiveTarget

__all__ = ["DockerArchiveSource", "DockerArchiveTarget"]
