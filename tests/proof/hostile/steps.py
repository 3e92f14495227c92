"""Which commands read the forms of each kind, and how they may end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hostile.forms import Form
from tests.proof.hostile.runner import Room, Step, copy, own

_DONE = frozenset({0})
_TOLD = frozenset({0, 1})
"""`check` has found something; `cp` has left something out; `diff` has found a difference."""
_NO_FORM = frozenset({10})
"""What a target cannot hold."""
_GONE = frozenset({2, 12, 13})
"""What a path names is not there any more, or is another thing."""
_SCRIPT = __file__


def steps_of(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    """The commands over a form that was put at `place`."""
    yield from _STEPS[form.kind](form, place, room, user)


def _made(layer: str, out: Path, *, clean: bool = True) -> list[Step]:
    """What follows on an import: the layer is sound, and goes out again."""
    return [
        Step("check", ["check", layer], _DONE if clean else _TOLD, _TOLD),
        Step("export", ["export", "-o", str(out / "again.tar"), layer], _DONE),
        Step("tree", ["tree", "-m", layer], _DONE),
        Step("export --transport", ["export", "--transport", str(out / "again"), layer], _DONE | _NO_FORM),
        Step("cp -r", ["cp", "-r", f"{layer}:C:\\", str(out / "copied")], _TOLD, _TOLD),
        Step("convert", ["convert", "--to", "ntfs", "--size", "64MiB", "-o", str(out / "volume"), layer],
             _DONE | _NO_FORM),
    ]  # fmt: skip


def _tar(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    layer, base = str(room.out / "layer"), str(room.world.layers.base)
    if not form.has_parents:
        yield Step("import", ["import", "-i", str(place), layer], form.outcome, then=_made(layer, room.out))
    yield Step(
        "import -l", ["import", "-i", str(place), "-l", base, layer],
        form.outcome if form.has_parents else form.outcome | {0, 6, 7}, then=_made(layer, room.out)[:2],
    )  # fmt: skip


def _hive(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    layer, out = str(room.out / "layer"), room.out
    told = form.more | {0, 2, 6, 7, 8}
    parents = ["-l", str(room.world.layers.base)] if form.has_parents else []
    yield Step(
        "import", ["import", "-i", str(place), *parents, layer], form.outcome,
        then=[
            *_made(layer, out, clean=False)[:3],
            Step("reg query", ["reg", "query", "-s", layer, "HKLM\\SYSTEM"], told),
            Step("reg export", ["reg", "export", layer, "HKLM\\SYSTEM", str(out / "system.reg")], told),
            Step("reg set", ["reg", "set", layer, "HKLM\\SYSTEM\\New", "v", "x"], told),
            Step("convert", ["convert", "--to", "ntfs", "--size", "64MiB", "-o", str(out / "volume"), layer],
                 told | {10}),
        ],
    )  # fmt: skip


def _transport(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    layer = str(room.out / "layer")
    yield Step("import", ["import", "-i", str(place), layer], form.outcome, then=_made(layer, room.out))
    base = str(room.world.layers.base)
    yield Step("import -l", ["import", "-i", str(place), "-l", base, layer], form.outcome | {0, 6, 7})


def _folder(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    """A plain folder becomes a layer in its place, so the command has a copy; or it goes into a scratch."""
    copied = str(room.out / form.file_name)
    yield Step("makebaselayer", ["makebaselayer", copied], form.outcome, frozenset(range(20)), [
        Step("check", ["check", copied], _TOLD, _TOLD),
        Step("export", ["export", "-o", str(room.out / "again.tar"), copied], _DONE),
    ], prepare=lambda: _copied(place, room, user))  # fmt: skip
    scratch = room.world.layers.scratch
    yield Step(
        "cp -r", ["cp", "-r", str(place), f"{room.out / scratch.name}:C:\\copied"],
        form.outcome | form.more | {0, 5, 6, 10}, prepare=lambda: _copied(scratch, room, user),
    )  # fmt: skip
    yield Step("import", ["import", "-i", str(place), str(room.out / "layer")], frozenset({4}))


def _layer_steps(form: Form, layer: str, room: Room) -> Iterator[Step]:
    """What only reads a layer directory."""
    out, base = room.out, str(room.world.layers.base)
    read = _DONE | form.more | (form.outcome - {1})
    for verb in ("ls", "tree", "info"):
        yield Step(verb, [verb, layer], read)
    yield Step("ls -m", ["ls", "-m", layer, "C:\\dir"], read | _GONE)
    yield Step("tree -m", ["tree", "-m", layer], read)
    yield Step("stat", ["stat", layer, "Files/a.txt"], read | _GONE)
    yield Step("stat -m", ["stat", "-m", layer, "C:\\dir\\b.bin"], read | _GONE)
    yield Step("cat", ["cat", layer, "Files/dir/b.bin"], read | _GONE)
    yield Step("acl get", ["acl", "get", layer, "C:\\ea"], read | _GONE)
    yield Step("attrib", ["attrib", layer, "C:\\dir\\b.bin"], read | _GONE)
    yield Step("diff", ["diff", layer, base], read | _TOLD)
    yield Step("diff --html", ["diff", "--html", str(out / "page.html"), base, layer], read | _TOLD, leaves=_TOLD)
    yield Step("report", ["report", "-o", str(out / "report.html"), layer, base], read | _TOLD, leaves=_TOLD)
    yield Step("export", ["export", "-o", str(out / "layer.tar"), layer], read)
    yield Step("export --transport", ["export", "--transport", str(out / "transport"), layer], read | _NO_FORM)
    yield Step("export-rootfs", ["export-rootfs", "-o", str(out / "root.tar"), layer], read | _NO_FORM, tells=True)
    yield Step("inventory", ["inventory", "--cyclonedx", str(out / "bill.json"), layer], read, tells=True)
    # A folder that holds no layer is no side of a copy.
    yield Step(
        "cp -r", ["cp", "-r", f"{layer}:C:\\dir", str(out / "copied")], read | _TOLD | _GONE | {64},
        leaves=frozenset(range(20)), tells=True,
    )  # fmt: skip
    yield Step(
        "cp", ["cp", f"{layer}:C:\\a.txt", str(out / "a.txt")], read | _GONE | _TOLD | {64}, leaves=_TOLD, tells=True
    )
    yield Step("reg query", ["reg", "query", layer, "HKLM\\SOFTWARE"], read | _GONE)
    yield Step("reg export", ["reg", "export", layer, "HKLM\\SOFTWARE", str(out / "x.reg")], read | _GONE)
    yield Step("bcd", ["bcd", layer], read | _GONE)
    yield Step(
        "convert", ["convert", "--to", "ntfs", "--size", "64MiB", "-o", str(out / "volume"), layer], read | _NO_FORM
    )


def _layer(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    layer, out = str(place), room.out
    read = _DONE | form.more | (form.outcome - {1})
    yield Step("check", ["check", layer], form.outcome)
    yield from _layer_steps(form, layer, room)
    link = room.folder / "world" / "link.tar"
    yield Step("create", ["create", "-l", layer, str(out / "made")], read)
    yield Step("create --read-only", ["create", "--read-only", "-l", layer, str(out / "made")], read)
    yield Step(
        "import -l", ["import", "-i", str(link), "-l", layer, str(out / "made")], read | {6}, names=("link.tar",)
    )
    child = str(out / "child")

    def put_child() -> None:
        copy(room.world.layers.child, out / "child")
        (out / "child" / "layerchain.json").write_text(json.dumps([layer]))

    yield Step("tree of a child", ["tree", "-m", child], read, prepare=put_child)
    yield Step("export of a child", ["export", "-o", str(out / "child.tar"), child], read, prepare=put_child)
    copied = str(out / form.file_name)
    yield Step("process", ["process", copied], read | {6, 10} | _GONE, prepare=lambda: _copied(place, room, user))
    yield Step("remove", ["remove", copied], read | {4, 5}, prepare=lambda: _copied(place, room, user))


def _parent(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    """A folder of several layers, the one in question being `top`."""
    top = place / "top"
    yield Step("check", ["check", str(top)], form.outcome)
    yield from _layer_steps(form, str(top), room)
    yield Step("create", ["create", "-l", str(top), str(room.out / "made")], _DONE | form.more | (form.outcome - {1}))


def _copied(source: Path, room: Room, user: str) -> None:
    """Puts a copy that may be changed into the place of results."""
    copy(source, room.out / source.name)
    if user != "root":
        own(room.out / source.name)


def _scratch(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    read = _DONE | form.more | (form.outcome - {1})
    copied = str(room.out / form.file_name)

    def put() -> None:
        _copied(place, room, user)

    yield Step("check", ["check", copied], form.outcome, prepare=put)
    changes: dict[str, tuple[list[str], frozenset[int]]] = {
        "mkdir": (["mkdir", copied, "C:\\dir\\new-directory"], read | {3, 13, 2}),
        "cp over": (["cp", _SCRIPT, f"{copied}:C:\\own"], read | _GONE),
        "rm -r": (["rm", "-r", copied, "C:\\dir"], read | _GONE),
        "unmount": (["unmount", copied], read | {17, 10, 6}),
        "attrib +H": (["attrib", copied, "C:\\a.txt", "+H"], read | _GONE),
        "cp into": (["cp", _SCRIPT, f"{copied}:C:\\dir\\b.bin"], read | _GONE),
        "mv": (["mv", copied, "C:\\own", "C:\\dir\\moved"], read | _GONE),
        "rm": (["rm", copied, "C:\\a.txt"], read | _GONE),
        "reg set": (["reg", "set", copied, "HKLM\\SOFTWARE\\Key", "Value", "text"], read | _GONE),
        "expand": (["expand", copied, "30GiB"], read | {6, 10}),
        "grant": (["grant", "11111111-2222-3333-4444-555555555555", f"{copied}/sandbox.vhdx"], read | {2, 5}),
        "remove": (["remove", copied], read | {4}),
    }
    for name, (command, allowed) in changes.items():
        yield Step(name, command, allowed, prepare=put)
    for step in _layer_steps(form, copied, room):
        step.prepare = put
        yield step
    base = ["-l", str(room.world.layers.child), "-l", str(room.world.layers.base)]
    yield Step(
        "import --over-scratch",
        ["import", "--over-scratch", "-i", str(room.folder / "world" / "link.tar"), *base, copied],
        read | {3, 5}, prepare=put,
    )  # fmt: skip


def _reg(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    scratch = room.world.layers.scratch
    yield Step(
        "reg import", ["reg", "import", str(room.out / scratch.name), str(place)], form.outcome,
        prepare=lambda: _copied(scratch, room, user),
    )  # fmt: skip


def _disk(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    disk, out = str(place), room.out
    read = _DONE | form.outcome | form.more
    made = str(out / "layer")
    yield Step("disk info", ["disk", "info", disk], read)
    yield Step("disk check", ["disk", "check", disk], read | _TOLD)
    yield Step("import", ["import", "-i", disk, made], read, then=_made(made, out, clean=False)[:2])
    yield Step("import -l", ["import", "-i", disk, "-l", str(room.world.layers.base), made], read | {5, 6})
    yield Step("disk convert", ["disk", "convert", disk, str(out / "disk.vhdx")], read)
    yield Step("disk convert --to raw", ["disk", "convert", "--to", "raw", disk, str(out / "disk.img")], read)
    small = str(room.folder / "world" / "small.img")
    yield Step(
        "disk convert --parent", ["disk", "convert", "--parent", disk, small, str(out / "d.vhdx")], read | {5, 6, 10}
    )
    scratch = room.world.layers.scratch

    def put() -> None:
        _copied(scratch, room, user)
        target = room.out / scratch.name / "sandbox.vhdx"
        target.unlink()
        copy(place, target)
        if user != "root":
            own(room.out / scratch.name)

    yield Step("expand", ["expand", str(room.out / scratch.name), "30GiB"], read | {4, 5, 6, 8, 10}, prepare=put)


def _target(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    """A place for a result, which another thing has."""
    base = str(room.world.layers.base)
    target = str(room.out / "target")
    small, link = str(room.world.folder / "small.img"), str(room.world.folder / "link.tar")
    taken = frozenset({3, 4, 5, 13, 16, 18})
    commands: dict[str, tuple[list[str], frozenset[int]]] = {
        "export -o": (["export", "-o", target, base], form.outcome),
        "export --transport": (["export", "--transport", target, base], taken),
        "import": (["import", "-i", link, "-l", base, target], taken),
        "create": (["create", "-l", base, target], taken),
        "cp": (["cp", f"{base}:C:\\a.txt", target], form.outcome),
        "convert": (["convert", "--to", "ntfs", "--size", "64MiB", "-o", target, base], form.outcome | {5}),
        "disk convert": (["disk", "convert", small, target], form.outcome | {5}),
        "reg export": (["reg", "export", base, "HKLM\\SOFTWARE", target], form.outcome | {2}),
    }
    for name, (command, allowed) in commands.items():
        yield Step(name, command, allowed, prepare=lambda: form.build(room.out / "target", room.world))


def _image(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    """An archive of images, as one of Docker and as a layout in a tar."""
    out, store = room.out, ["--store", str(room.out / "store")]
    read = _DONE | form.outcome | form.more
    every = frozenset(range(20))
    other = read | {0, 2, 4, 6, 7, 10}
    yield Step("copy", ["copy", f"docker-archive:{place}", f"docker-archive:{out / 'x.tar'}:x:1"], form.outcome)
    yield Step("copy to a layout", ["copy", f"docker-archive:{place}", f"oci:{out / 'x'}:x"], read, every)
    yield Step("copy of a layout", ["copy", "--all", f"oci-archive:{place}", f"oci-archive:{out / 'x.tar'}"], other)
    yield Step("inspect", ["inspect", f"docker-archive:{place}"], other)
    yield Step("load", ["load", "--no-unpack", "-i", str(place), *store], other, every)


def _layout(form: Form, place: Path, room: Room, user: str) -> Iterator[Step]:
    """The directory of a layout: it is read, and then added to."""
    out = room.out
    read = _DONE | form.outcome | form.more
    copied = out / form.file_name
    yield Step("copy", ["copy", f"oci:{place}", f"docker-archive:{out / 'x.tar'}:x:1"], read)
    yield Step("inspect", ["inspect", f"oci:{place}"], read)
    yield Step(
        "attach", ["attach", "--type", "text/x-python", f"oci:{copied}", _SCRIPT], read | {3, 4, 6},
        leaves=frozenset(range(20)), prepare=lambda: _copied(place, room, user),
    )  # fmt: skip
    yield Step("attach --list", ["attach", "--list", f"oci:{place}"], read)
    yield Step(
        "copy into it", ["copy", f"oci:{room.world.folder / 'image'}", f"oci:{copied}:new"], read | {3, 4, 6},
        leaves=frozenset(range(20)), prepare=lambda: _copied(place, room, user),
    )  # fmt: skip


_STEPS: dict[str, Callable[[Form, Path, Room, str], Iterator[Step]]] = {
    "tar": _tar, "transport": _transport, "folder": _folder, "layer": _layer, "parent": _parent, "scratch": _scratch,
    "hive": _hive, "reg": _reg, "disk": _disk, "target": _target,
    "image": _image, "layout": _layout,
}  # fmt: skip
