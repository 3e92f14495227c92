"""Random legal layers, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support import directory
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import volume_root
from wclayer.win32.names import path_key
from wclayer.win32.sddl import from_sddl

PLAIN_SECURITY = volume_root().encode()
AUDITED_SECURITY = from_sddl("O:SYG:SYD:(A;;FA;;;BA)S:(AU;SA;FA;;;WD)(ML;;NW;;;LW)").encode()
EAS = encode_eas([ExtendedAttribute(b"FIRST", b"one", 0x80), ExtendedAttribute(b"SECOND", bytes(300))])
RandomLayer = list[tuple[Entry, list[tuple[str, bytes]]]]
"""Entries, each with the names and contents of its streams."""

_parts = st.text(
    st.characters(exclude_characters='"*/:<>?\\|', min_codepoint=33, exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda name: name not in (".", "..") and not name.startswith(".wh."))
_small = st.binary(max_size=40)


@st.composite
def layers(draw: st.DrawFn) -> RandomLayer:
    """A random legal layer: directories and files with any metadata, in a legal order."""
    directories = ["Files"]
    made: RandomLayer = [(directory("Files"), [])]
    seen = {"FILES"}
    for _ in range(draw(st.integers(0, 8))):
        name = f"{draw(st.sampled_from(directories))}/{draw(_parts)}"
        if path_key(name) in seen:
            continue
        seen.add(path_key(name))
        time = st.integers(0, (1 << 63) - 1)
        basic = FileBasicInfo(draw(st.integers(0, 0xFFFF)) & ~0x610, *(draw(time) for _ in range(4)))
        security = draw(st.sampled_from([None, PLAIN_SECURITY, AUDITED_SECURITY]))
        eas = draw(st.sampled_from([b"", EAS]))
        if draw(st.booleans()):
            basic.attributes |= 0x10
            directories.append(name)
            made.append((Entry(name, basic, 0, security, eas), []))
        else:
            data = draw(_small)
            streams = draw(st.dictionaries(st.sampled_from(["s", "Zone.Identifier", "日本"]), _small, max_size=2))
            made.append((Entry(name, basic, len(data), security, eas), [("", data), *streams.items()]))
    return made


def put_all(writer: LayerWriter, layer: RandomLayer) -> None:
    """Puts a random layer into a writer."""
    for entry, streams in layer:
        writer.put(entry, (DataStream(name, len(data), (data,)) for name, data in streams))
