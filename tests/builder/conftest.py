"""Fixtures that the tests of builds share with those of images: registries."""

from tests.images.conftest import certificates, debian_registry, fake, repository

__all__ = ["certificates", "debian_registry", "fake", "repository"]
