"""The package's source as tests read it: its modules, what they import, what they call."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "wclayer"


@dataclass(frozen=True)
class Import:
    """One import of a module of the package, wherever in the importing module it stands."""

    by: str
    module: str
    line: int


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def modules(package: Path = PACKAGE) -> Mapping[str, Path]:
    """Every module of a package by its full name; a package itself is the module of its `__init__`."""
    return {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(package.rglob("*.py"))
    }


@functools.cache
def imports(package: Path = PACKAGE) -> tuple[Import, ...]:
    """Every import among the modules of a package: at the top, in functions, and for type checkers only."""
    known = modules(package)
    return tuple(
        Import(name, imported, node.lineno)
        for name, path in known.items()
        for node in ast.walk(parsed(path))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for imported in _imported(node, name if path.stem == "__init__" else name.rpartition(".")[0], known)
        if imported in known and imported != name
    )


def _imported(node: ast.Import | ast.ImportFrom, package: str, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules that a statement in a module of `package` imports."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    else:
        parts = package.split(".")
        above = ".".join(parts[: len(parts) + 1 - node.level]) if node.level else ""
        base = ".".join(part for part in (above, node.module) if part)
        for name in node.names:
            # `from wclayer import host` imports wclayer.host; `from wclayer.host import X` imports wclayer.host.
            inner = f"{base}.{name.name}"
            yield inner if inner in known else base


def run_by(found: Iterable[Import], known: Iterable[str]) -> dict[str, set[str]]:
    """The modules that the import of each module runs: those that it names, and the packages that they are in."""
    graph: dict[str, set[str]] = {name: set() for name in known}
    for item in found:
        name = item.module
        while name:
            # A module does not wait for the packages that it is in itself: they are running already.
            if name in graph and not f"{item.by}.".startswith(f"{name}."):
                graph[item.by].add(name)
            name = name.rpartition(".")[0]
    return graph


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The groups of nodes of which each leads to every other (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_nodes: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        open_nodes.append(node)
        for following in graph[node]:
            if following not in order:
                visit(following)
            if following in open_nodes:
                lowest[node] = min(lowest[node], lowest[following])
        if lowest[node] == order[node]:
            start = open_nodes.index(node)
            group = open_nodes[start:]
            del open_nodes[start:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in order:
            visit(node)
    return sorted(found)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call in a piece of source."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method in a piece of source, also those in functions."""
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    """The parameters of a function that have a name of their own."""
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def classes(package: Path = PACKAGE) -> dict[str, tuple[str, ast.ClassDef]]:
    """Every class of a package by its name, with its module; two of one name are both there, under full names."""
    found: dict[str, tuple[str, ast.ClassDef]] = {}
    for name, path in modules(package).items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                found[f"{name}.{node.name}"] = (name, node)
    return found
