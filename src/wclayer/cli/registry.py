"""The verbs of the registry: `reg` and `bcd`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import click

import wclayer
from wclayer.builder.machine.reg_file import apply_reg, read_reg
from wclayer.cli.group import Verbs
from wclayer.cli.layer_argument import LayerArgument, layer_argument
from wclayer.cli.output import echo, json_option, print_json, print_json_list, results_beside
from wclayer.errors import InvalidParameterError, PathNotFoundError, errors_at
from wclayer.formats.regf.model import Key, Value, fold, walk
from wclayer.formats.regf.text import encode_reg, format_reg
from wclayer.formats.regf.values import from_text, parse_type, to_text, type_name
from wclayer.layers.atomic import OutputFile
from wclayer.layers.directory.chain_file import read_chain
from wclayer.layers.inputs import open_stream
from wclayer.model import limits_in_use
from wclayer.view.registry import registry_path
from wclayer.win32 import filetime


@click.group("reg", cls=Verbs)
def reg_group() -> None:
    """Show the registry of a layer over its parents, or of an image, or change that of a layer.

    Keys are spelled as in reg.exe: HKLM\\SOFTWARE\\..., HKU\\.DEFAULT\\...

    Changes are written to the delta hives of the layer, or to the hives of a base layer. A command makes all of its
    changes or none.

    \b
    Example:
      wclayer reg query nanoserver:ltsc2022 'HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion'
      wclayer reg query /layers/app 'HKLM\\SYSTEM\\CurrentControlSet\\Services\\Dnscache'
      wclayer reg set /layers/app 'HKLM\\SOFTWARE\\My App' Level 3 -t REG_DWORD
      wclayer reg get /layers/app 'HKLM\\SOFTWARE\\My App' Level
      wclayer reg export /layers/app 'HKLM\\SOFTWARE\\My App' app.reg
      wclayer reg delete /layers/app 'HKLM\\SOFTWARE\\My App'
      wclayer reg import /layers/app app.reg
    """


def _value_record(value: Value) -> dict[str, Any]:
    return {"name": value.name, "type": type_name(value.type), "text": to_text(value), "data": value.data.hex()}


def _target(key: str, name: str | None) -> str:
    """Returns the name of a key, or of a value of it, for a message."""
    return str(registry_path(key)) if name is None else f"{registry_path(key)}: {name or '(Default)'}"


def _key_record(path: str, key: Key) -> dict[str, Any]:
    return {
        "key": path,
        "last_written": filetime.to_iso(key.metadata.last_written),
        "values": [_value_record(value) for value in key.values()],
        "subkeys": [child.name for child in key.subkeys()],
    }


@reg_group.command("query")
@click.option("-s", "--recursive", is_flag=True, help="Print everything below the key, too.")
@click.option(
    "-v", "--value", "name", default=None, help="Print only the values with this name ('' is the default value)."
)
@json_option
@layer_argument("layer")
@click.argument("key")
def query_command(recursive: bool, name: str | None, as_json: bool, layer: LayerArgument, key: str) -> None:
    """Print the values of a KEY of LAYER, a layer or an image, and the names of its subkeys."""
    with wclayer.Registry(layer.path) as registry, registry.reading():
        top = registry.key(key)
        path = str(registry_path(key))
        found = walk(top, path, max_paths=limits_in_use().key_paths) if recursive else iter([(path, top)])
        if as_json:
            print_json_list(_key_record(at, current) for at, current in found)
            return
        for at, current in found:
            values = [v for v in current.values() if name is None or fold(v.name) == fold(name)]
            if values or (name is None and (recursive or at == path)):
                echo(at)
                for value in values:
                    echo(f"    {value.name or '(Default)'}    {type_name(value.type)}    {to_text(value)}")
                echo("")
            if not recursive and name is None:
                for child in current.subkeys():
                    echo(f"{at}\\{child.name}")
            elif not recursive and not values:
                raise PathNotFoundError(key, f"the key has no value {name!r}", code=2)


@reg_group.command("get")
@json_option
@layer_argument("layer")
@click.argument("key")
@click.argument("name", default="")
def get_command(as_json: bool, layer: LayerArgument, key: str, name: str) -> None:
    """Print the data of the value NAME of a KEY of LAYER, a layer or an image; without NAME, of the default value."""
    with wclayer.Registry(layer.path) as registry, registry.reading():
        value = next((v for v in registry.key(key).values() if fold(v.name) == fold(name)), None)
    if value is None:
        raise PathNotFoundError(key, f"the key has no value {name!r}", code=2)
    if as_json:
        print_json(_value_record(value))
    else:
        echo(to_text(value))


@reg_group.command("set")
@click.option("-t", "--type", "kind", default="REG_SZ", help="The type of the value (default: REG_SZ).")
@layer_argument("layer")
@click.argument("key")
@click.argument("name", required=False)
@click.argument("data", required=False)
def set_command(kind: str, layer: LayerArgument, key: str, name: str | None, data: str | None) -> None:
    r"""Set the value NAME of a KEY of LAYER to DATA. Without NAME, only create the key. NAME '' is the default value.

    Numbers are decimal or 0x.... \0 separates the strings of a REG_MULTI_SZ. Other data is hexadecimal.
    """
    if name is not None and data is None:
        raise click.UsageError("a value needs DATA")
    try:
        number = parse_type(kind)
        content = b"" if data is None else from_text(number, data)
    except ValueError as error:
        raise InvalidParameterError(key, str(error)) from None
    with wclayer.RegistryEditor(layer.path_to_change()) as editor:
        if name is None:
            editor.create_key(key)
        else:
            editor.set_value(key, name, number, content)
    echo(f"set {_target(key, name)}")


@reg_group.command("delete")
@layer_argument("layer")
@click.argument("key")
@click.argument("name", required=False)
def delete_command(layer: LayerArgument, key: str, name: str | None) -> None:
    """Delete the value NAME of a KEY of LAYER ('': the default value); without NAME, the key and all below it."""
    with wclayer.RegistryEditor(layer.path_to_change()) as editor:
        if name is None:
            editor.delete_key(key)
        else:
            editor.delete_value(key, name)
    echo(f"deleted {_target(key, name)}")


@reg_group.command("import")
@layer_argument("layer")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def import_command(layer: LayerArgument, file: str) -> None:
    """Apply a .reg FILE (version 5.00; - is standard input) to LAYER."""
    with errors_at(file), open_stream(file) as stream:
        data = read_reg(stream, file)
    with wclayer.RegistryEditor(layer.path_to_change()) as editor:
        count = apply_reg(editor, data, file)
    echo(f"imported {file}: {count} steps")


@reg_group.command("export")
@layer_argument("layer")
@click.argument("key")
@click.argument("file", default="-")
def export_command(layer: LayerArgument, key: str, file: str) -> None:
    """Write a KEY of LAYER, a layer or an image, and everything below it as a .reg FILE (default: standard output)."""
    if file == "-":
        _write_reg(layer, key, sys.stdout.buffer)
        return
    with results_beside(file, "a .reg file"):
        with OutputFile(file, sources=[layer.path, *read_chain(Path(layer.path))]) as output:
            _write_reg(layer, key, output.stream)
        echo(f"exported {registry_path(key)} to {file}")


def _write_reg(layer: LayerArgument, key: str, stream: BinaryIO) -> None:
    with wclayer.Registry(layer.path) as registry, registry.reading():
        keys = [(str(registry_path(key)), registry.key(key))]
        stream.writelines(encode_reg(format_reg(keys, max_paths=limits_in_use().key_paths)))
        stream.flush()


def _with_boot_store(layer: LayerArgument) -> str:
    """Returns the path of a layer directory; of an image, that of the nearest layer with a utility VM, if any."""
    chain = layer.chain()
    return next((path for path in chain if os.path.isdir(os.path.join(path, "UtilityVM", "Files"))), chain[0])


@click.command("bcd")
@json_option
@layer_argument("layer")
def bcd_command(as_json: bool, layer: LayerArgument) -> None:
    """List the objects of the boot configuration store of LAYER's utility VM, with their elements by name. In an image,
    the utility VM is that of the nearest layer that has one.

    \b
    Example:
      wclayer bcd /layers/base
    """
    objects = list(wclayer.read_boot_store(_with_boot_store(layer)))
    if as_json:
        print_json(
            [
                {
                    "id": found.id,
                    "alias": found.alias,
                    "type": f"{found.type:#010x}",
                    "kind": found.kind,
                    "elements": [
                        {"type": f"{element.type:#010x}", "name": element.name, "value": element.value}
                        for element in found.elements
                    ],
                }
                for found in objects
            ]
        )
        return
    for found in objects:
        echo(found.kind)
        echo("-" * len(found.kind))
        echo(f"{'identifier':<24}{f'{{{found.alias}}}' if found.alias else found.id}")
        for element in found.elements:
            values = element.value if isinstance(element.value, list) else [element.value]
            for index, text in enumerate(values or [""]):
                echo(f"{element.name if not index else '':<24}{text}".rstrip())
        echo("")


COMMANDS = (reg_group, bcd_command)
