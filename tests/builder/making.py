"""What a build does, in one function: a layer in a workspace, and the image with its name."""

from __future__ import annotations

from tests.builder.images import BASE
from wclayer.builder.image import BuiltImage, Step
from wclayer.builder.workspace import Workspace
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.images.store import ImageStore
from wclayer.win32.filetime import from_unix_ns

EPOCH = 1_600_000_000
NAME = "app:1"
WHEN = "2020-09-13T12:26:40Z"


def make(path: str, files: str = "40") -> None:
    """Makes an image `NAME` in the store at a path, on the image `BASE`."""
    store = ImageStore(path)
    with store.in_use():
        with store.source(BASE) as source:
            image = BuiltImage.on(source)
        for number in range(2):
            with Workspace(store, image.chain_ids, time=from_unix_ns(EPOCH * 10**9)) as workspace:
                view = workspace.view
                view.mkdir(f"C:/tool{number}")
                for file in range(int(files)):
                    with view.open(f"C:/tool{number}/{file}.txt", "wb") as stream:
                        stream.write(b"%d" % file * 1000)
                view.unlink("C:/App/a.txt" if number else "C:/App/empty")
                with workspace.registry() as registry:
                    value = encode_string(str(number))
                    registry.set_value(r"HKLM\SOFTWARE\Tool", "Version", int(ValueType.REG_SZ), value)
                layer = workspace.commit()
                assert layer is not None
            image = image.with_layer(layer, Step(f"step {number}", WHEN))
        store.tag(NAME, image.put(store))
