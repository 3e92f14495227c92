"""The fields of on-disk structures have names: no code counts positions in what `struct` unpacked."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import wclayer

_SOURCE = Path(wclayer.__file__).parent
_ROOMS = ("formats", "win32", "layers/volume")


def _is_unpacked(node: ast.expr) -> bool:
    """Whether an expression is the tuple of an unpacked structure, or a list of it."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name) and node.func.id in ("list", "tuple") and node.args:
        return _is_unpacked(node.args[0])
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("unpack", "unpack_from")


def _positions(tree: ast.AST) -> list[int]:
    """The lines of a module on which a position other than the first one is taken from an unpacked structure."""
    found = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        names = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _is_unpacked(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value != 0:
                is_name = isinstance(node.value, ast.Name) and node.value.id in names
                if is_name or _is_unpacked(node.value):
                    found.append(node.lineno)
    return found


def test_structures_have_named_fields() -> None:
    counted = {
        path.relative_to(_SOURCE).as_posix(): lines
        for room in _ROOMS
        for path in sorted((_SOURCE / room).rglob("*.py"))
        if (lines := _positions(ast.parse(path.read_text("utf-8"))))
    }
    assert counted == {}


@pytest.mark.parametrize(
    "line",
    ["return S.unpack(data)[3]", "f = S.unpack_from(data)\n    return f[1]", "f = list(S.unpack(data))\n    f[2] = 0"],
)
def test_positions_are_found(line: str) -> None:
    assert _positions(ast.parse(f"def function(data):\n    {line}\n"))
