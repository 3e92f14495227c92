"""Every module that registers forms."""

from tests.hostile import disks, folders, hives, images, layers, scratches, targets, tars, transport, volumes

__all__ = ["disks", "folders", "hives", "images", "layers", "scratches", "targets", "tars", "transport", "volumes"]
