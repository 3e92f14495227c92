"""`demo`: the main job from end to end, on sample layers that the verb makes itself."""

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
from wclayer.cli.diff import diff_command
from wclayer.cli.image_changes import config_command
from wclayer.cli.image_documents import inspect_command
from wclayer.cli.inspect import ls_command, stat_command, tree_command
from wclayer.cli.output import echo, size_text
from wclayer.cli.sample_image import OS_VERSION, SampleLayer, sha256_of, write_sample_image
from wclayer.formats.regf.values import ValueType, encode_string
from wclayer.images.docker_archive import DockerArchiveSource
from wclayer.images.inspection import inspect_image
from wclayer.images.loading import load_images, save_images
from wclayer.images.store import ImageStore


@click.command("demo")
@click.option(
    "--folder",
    metavar="FOLDER",
    default=None,
    help="The folder to work in, which must not exist (default: a temporary one).",
)
def demo_command(folder: str | None) -> None:
    """Make a sample base layer and a child, import both, show them, export them, and prove that the bytes are the same.

    Then make a scratch over them, change its files in a mount and its registry, show the difference, export the
    scratch, import the tar elsewhere, and prove that both show the same.

    At last make an image of both layers in an archive, load it into a store, look into it, change its configuration,
    save it, and prove that its layers are the same. No network is needed.

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
            raise wclayer.AlreadyExistsError(work, "already exists") from None
    base_tar, child_tar = work / "base.tar.gz", work / "child.tar"
    base, child = work / "layers" / "base", work / "layers" / "child"
    (work / "layers").mkdir()

    _title("1. Two sample layers as tars, as a registry would deliver them")
    _write(base_tar, sample.write_base, wclayer.Compression.GZIP)
    _write(child_tar, sample.write_child, wclayer.Compression.NONE)

    _title("2. Import them: each becomes a layer directory")
    diff_ids = [_import(base_tar, base, []), _import(child_tar, child, [base])]

    _title("3. The child's tree, and the whole container's root")
    _run(tree_command, child)
    echo("")
    _run(ls_command, "-m", child, "C:\\")

    _title("4. All metadata of one file")
    _run(stat_command, child, r"C:\app\app.exe")

    _title("5. What the child changes")
    _run(diff_command, "--no-times", base, child)

    _title("6. Verify them, and export them: the bytes are the same")
    for layer, original, expected in ((base, base_tar, diff_ids[0]), (child, child_tar, diff_ids[1])):
        problems = list(wclayer.check_layer(layer))
        exported = work / f"{layer.name}.exported.tar"
        result = wclayer.export_layer_to_file(layer, exported)
        digest = "sha256:" + hashlib.sha256(exported.read_bytes()).hexdigest()
        if problems or digest != expected or not result.unchanged:
            raise wclayer.CorruptLayerError(layer, f"its export differs from {original.name}, which was imported")
        echo(f"{layer.name}: no problem found; export has sha256:{digest[7:23]}…, the diffID of {original.name}")

    scratch, copy = work / "layers" / "scratch", work / "layers" / "copy"
    _title("7. A scratch over both, changed as a container would")
    wclayer.create_scratch_layer(scratch, [child, base])
    wclayer.activate_layer(scratch)
    try:
        wclayer.prepare_layer(scratch)
    except wclayer.NotSupportedError as error:
        echo(f"no mount ({error.detail}); the same changes are made without one")
        with wclayer.LayerView(scratch=scratch) as view:
            _change(wclayer.LayerPath(view))
    else:
        mounted = wclayer.get_layer_mount_path(scratch)
        echo(f"mounted at {mounted}")
        _change(Path(mounted))
        wclayer.unprepare_layer(scratch)
    with wclayer.RegistryEditor(scratch) as editor:
        editor.set_value(r"HKLM\SOFTWARE\Demo", "Greeting", int(ValueType.REG_SZ), encode_string("hello"))
    wclayer.deactivate_layer(scratch)
    echo(f"deactivated; {scratch / 'sandbox.vhdx'} has the changes, too")

    _title("8. What the scratch changes: this is what is exported")
    _run(diff_command, "--no-times", scratch)

    _title("9. Export it and import it elsewhere on the same parents: both show the same")
    exported = work / "scratch.tar"
    wclayer.export_layer_to_file(scratch, exported)
    _import(exported, copy, [child, base])
    with wclayer.MergedTree([scratch, child, base]) as a, wclayer.MergedTree([copy, child, base]) as b:
        if any(wclayer.diff_trees(a, b)):
            raise wclayer.CorruptLayerError(copy, "it differs from the scratch that was exported")
    echo("no difference")

    image, edited, store = _show_image(work, (base_tar, child_tar), diff_ids)

    _title("The results")
    for path, what in (
        (work, ""),
        (base_tar, "the sample base layer"),
        (child_tar, "the sample child"),
        (base / "Files", "its contents as plain files"),
        (base / "layer.db", "what a plain file cannot hold"),
        (child / "layerchain.json", "its parents"),
        (work / "child.exported.tar", "the same bytes again"),
        (scratch, "the scratch"),
        (work / "scratch.tar", "its changes"),
        (image, "the image"),
        (store, "the store"),
        (edited, "the image with another configuration"),
    ):
        echo(f"  {path}{f'    {what}' if what else ''}")


def _show_image(work: Path, tars: tuple[Path, Path], diff_ids: list[str]) -> tuple[Path, Path, Path]:
    """Shows the chapters about images; returns the archive, the one of the edited image, and the store."""
    image, edited = work / "image.tar", work / "edited.tar"
    _title("10. An image of both layers in an archive, as `docker save` writes it: loaded into a store")
    steps = (f"Apply image {OS_VERSION}", r"COPY app C:\app")
    layers = [
        SampleLayer(tar, sha256_of(tar), diff_id, step)
        for tar, diff_id, step in zip(tars, diff_ids, steps, strict=True)
    ]
    write_sample_image(image, "sample:1", layers)
    store = ImageStore(work / "store")
    (loaded,) = load_images(image, store)
    echo(f"{image.name} -> {loaded.name}: {loaded.images[0].unpacked} layers unpacked into {store.path}")
    _run(inspect_command, "--store", store.path, "sample:1")

    _title("11. Look into the image, by its name: a folder, and what its last layer changes")
    _run(ls_command, "--store", store.path, "sample:1", r"C:\app")
    echo("")
    _run(diff_command, "--store", store.path, "--no-times", "sample:1")

    _title("12. Change its configuration, and save it: the layers are the same")
    _run(config_command, "--store", store.path, "--env", "GREETING=hello", "-t", "sample:2", "sample:1")
    save_images(["sample:2"], edited, store)
    with DockerArchiveSource(edited) as source:
        saved = inspect_image(source).config
    if saved is None or list(saved.diff_ids) != diff_ids:
        raise wclayer.CorruptLayerError(edited, f"its layers are not those of {image.name}")
    echo(f"{edited.name}: the diffIDs of its layers are those of {' and '.join(tar.name for tar in tars)}")
    return image, edited, store.path


def _change(root: Path | wclayer.LayerPath) -> None:
    """Makes some changes as a container would, with the methods that `pathlib` and `LayerPath` share."""
    (root / "app" / "logs").mkdir()
    (root / "app" / "logs" / "first.txt").write_text("written in the scratch\n")
    (root / "app" / "app.exe").rename(root / "app" / "renamed.exe")  # type: ignore[arg-type]
    (root / "Windows" / "win.ini").unlink()
    for path in sorted(str(path).rpartition("/")[2] for path in (root / "app").iterdir()):
        echo(f"  app/{path}")


def _run(command: click.Command, *arguments: str | Path) -> None:
    """Runs a verb as the command line does."""
    name = str(command.name)
    with (
        command.make_context(name, [str(argument) for argument in arguments]) as context,
        contextlib.suppress(click.exceptions.Exit),
    ):
        command.invoke(context)


def _title(text: str) -> None:
    echo("")
    click.echo(click.style(text, bold=True))


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
