"""`demo`: the main job from end to end, on sample layers made on the spot."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

import wclayer
from wclayer import sample
from wclayer.cli.inspect import diff_command, ls_command, stat_command, tree_command
from wclayer.cli.output import echo, size_text


@click.command("demo", short_help="Show the main job from end to end.")
@click.option(
    "--folder", metavar="FOLDER", default=None, help="Where to work; a new folder (default: a temporary one)."
)
@click.pass_context
def demo_command(ctx: click.Context, folder: str | None) -> None:
    """Make a sample base layer and a child, import both, look into them, export them, and prove the bytes came back.

    \b
    Example:
      wclayer demo
    """
    if folder is None:
        work = Path(tempfile.mkdtemp(prefix="wclayer-demo-"))
    else:
        work = Path(folder)
        try:
            work.mkdir(parents=True)
        except FileExistsError:
            raise wclayer.AlreadyExistsError("demo", work, "already exists") from None
    base_tar, child_tar = work / "base.tar.gz", work / "child.tar"
    base, child = work / "layers" / "base", work / "layers" / "child"
    (work / "layers").mkdir()

    _title("1. Two sample layers as tars, as a registry would deliver them")
    _write(base_tar, sample.write_base, wclayer.Compression.GZIP)
    _write(child_tar, sample.write_child, wclayer.Compression.NONE)

    _title("2. Import them: each becomes a directory one can look into")
    diff_ids = [_import(base_tar, base, []), _import(child_tar, child, [base])]

    _title("3. The child's tree, and the whole container's root")
    ctx.invoke(tree_command, layer=str(child), path="", depth=None, merged=False, as_json=False)
    echo("")
    ctx.invoke(ls_command, layer=str(child), path="C:\\", merged=True, as_json=False)

    _title("4. All metadata of one file")
    ctx.invoke(stat_command, layer=str(child), path=r"C:\app\app.exe", merged=False, as_json=False)

    _title("5. What the child changes")
    with (
        diff_command.make_context("diff", ["--no-times", str(base), str(child)]) as diff,
        contextlib.suppress(click.exceptions.Exit),
    ):
        diff_command.invoke(diff)

    _title("6. Verify and export them: the same bytes come back")
    for layer, original, expected in ((base, base_tar, diff_ids[0]), (child, child_tar, diff_ids[1])):
        problems = list(wclayer.check_layer(layer))
        exported = work / f"{layer.name}.exported.tar"
        result = wclayer.export_layer_to_file(exported, layer)
        digest = "sha256:" + hashlib.sha256(exported.read_bytes()).hexdigest()
        if problems or digest != expected or not result.unchanged:
            raise wclayer.CorruptLayerError("demo", layer, f"the export of {original.name} is not what was imported")
        echo(f"{layer.name}: no problem found; export has sha256:{digest[7:23]}…, the diffID of {original.name}")

    _title("Everything is in")
    for path, what in (
        (work, ""),
        (base_tar, "the sample base layer"),
        (child_tar, "the sample child"),
        (base / "Files", "its contents as plain files"),
        (base / "layer.db", "what a plain file cannot hold"),
        (child / "layerchain.json", "its parents"),
        (work / "child.exported.tar", "the bytes that came back"),
    ):
        echo(f"  {path}{f'    {what}' if what else ''}")


def _title(text: str) -> None:
    echo("")
    echo(click.style(text, bold=True))


def _write(path: Path, write: Callable[[wclayer.LayerWriter], None], compression: wclayer.Compression) -> None:
    with path.open("wb") as raw, wclayer.TarLayerWriter(raw, path, compression=compression) as writer:
        write(writer)
    echo(f"{path.name}: {size_text(path.stat().st_size)}")


def _import(tar: Path, layer: Path, parents: list[Path]) -> str:
    start = time.perf_counter()
    with tar.open("rb") as stream:
        result = wclayer.import_layer_from_tar(stream, layer, parents, source=tar)
    seconds = time.perf_counter() - start
    echo(f"{tar.name} -> {layer}: {result.entries} entries, {size_text(result.size)} in {seconds:.2f} s")
    echo(f"  diffID {result.diff_id}")
    return result.diff_id


COMMANDS = (demo_command,)
