"""The house: imports point down, the documents name what is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import wclayer
from tests.source import PACKAGE, ROOT, Import, arguments, calls, circles, functions, imports, modules, parsed, run_by
from wclayer import errors
from wclayer.cli import verbs
from wclayer.model import Limits

# From the top down: a module may import from its own floor and from those below it.
FLOORS = [
    "cli",
    "",
    "explore",
    "builder",
    "fleet",
    "report",
    "comparison",
    "pages",
    "rights",
    "search",
    "survey",
    "inventory",
    "images",
    "engines",
    "view",
    "layers",
    "host",
    "formats",
    "win32",
]
IMPORTED_BY_NAME = {
    "wclayer": wclayer._HOME_OF.values(),
    "wclayer.cli.verbs": [f"wclayer.cli.{module}" for module in verbs._MODULES],
}
"""Modules that import others by a name that is computed, and the modules that they import so."""


def _floor(module: str) -> int:
    first = module.split(".")[1] if "." in module else ""
    if first == "sample":
        return FLOORS.index("view")
    if first in ("model", "errors", "_types", "_version", "_walk", "_nearest", "_ending"):
        return FLOORS.index("win32")
    return FLOORS.index(first) if first in FLOORS else FLOORS.index("")


def test_imports_point_down() -> None:
    found = imports()
    assert len(found) > 150
    assert [item for item in found if item.by != "wclayer.__main__" and _floor(item.by) > _floor(item.module)] == []


def test_no_import_goes_round() -> None:
    """No module needs itself, also not through imports in functions, for type checkers, or by a computed name."""
    computed = {
        name
        for name, path in modules().items()
        if any(ast.unparse(call.func).endswith(("import_module", "__import__")) for call in calls(parsed(path)))
    }
    assert computed == IMPORTED_BY_NAME.keys()
    by_name = (Import(name, home, 0) for name, homes in IMPORTED_BY_NAME.items() for home in homes)
    assert not circles(run_by([*imports(), *by_name], modules()))


def test_a_circle_is_found_wherever_its_imports_stand(tmp_path: Path) -> None:
    package = tmp_path / "wclayer"
    sources = {
        "__init__.py": "", "top.py": "from wclayer.part import one\n", "part/__init__.py": "",
        "part/one.py": "from wclayer.part.two import x\n",
        "part/two.py": "def f():\n    from . import three\n",
        "part/three.py": "if TYPE_CHECKING:\n    import wclayer.part.one\n",
        "left/__init__.py": "from .inner import x\n", "left/inner.py": "from wclayer import right\n",
        "right.py": "from wclayer.left import other\n", "left/other.py": "",
    }  # fmt: skip
    for name, text in sources.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    assert circles(run_by(imports(package), modules(package))) == [
        ["wclayer.left", "wclayer.left.inner", "wclayer.right"],
        ["wclayer.part.one", "wclayer.part.three", "wclayer.part.two"],
    ]


def test_formats_know_nothing_of_layers() -> None:
    for item in imports():
        below = ("wclayer.win32", "wclayer.errors", "wclayer._types", "wclayer._walk")
        if item.by.startswith("wclayer.formats"):
            assert item.module.startswith(("wclayer.formats", *below)), item
        if item.by.startswith("wclayer.win32"):
            assert item.module.startswith(below), item


_CHANGING = {
    f"os.{name}"
    for name in (
        "open", "link", "symlink", "rename", "renames", "replace", "unlink", "remove", "removedirs", "rmdir", "mkdir",
        "makedirs", "mkfifo", "mknod", "truncate", "chmod", "lchmod", "chown", "lchown", "setxattr", "removexattr",
    )
} | {"open", "io.open", "shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copytree", "shutil.move",
     "shutil.rmtree", "tempfile.mkdtemp", "tempfile.mkstemp", "tempfile.NamedTemporaryFile",
     "tempfile.TemporaryDirectory"}  # fmt: skip
"""Calls that change the host by a name, or can: they open for reading, too. A file without a name is no change."""
_DOORS = {
    "cli.demo": ({"tempfile.mkdtemp"}, "the folder of the example"),
    "cli.main": ({"os.open"}, "the null device in the place of a closed stream"),
    "cli.verbs": ({"open"}, "the null device in the place of a closed pipe"),
    "cli.view": ({"tempfile.mkdtemp", "os.rmdir"}, "the folder at which `shell` mounts an image"),
    "engines.hcs.reader": ({"tempfile.mkdtemp"}, "the folder into which Windows exports"),
    "engines.hcs.selftest": ({"tempfile.mkdtemp"}, "the folder of the self-test"),
    "engines.hcs.writer": ({"tempfile.mkdtemp", "os.mkdir", "os.rmdir"}, "the folder from which Windows imports"),
    "engines.portable.vm_access": ({"os.setxattr"}, "the descriptor of a file that the caller named, on ntfs-3g"),
    "errors": ({"os.open"}, "asks the host why SQLite could not open a file"),
    "fleet.scan.environment": (
        {"tempfile.TemporaryDirectory", "shutil.rmtree"},
        "what a task of a worker has on its disk meanwhile",
    ),
    "inventory.facts.image": ({"tempfile.TemporaryDirectory"}, "the folder into which facts are unpacked"),
    "layers.directory.file_worker": (
        {"open", "os.link", "os.open"},
        "makes the files of a staged directory in a process of its own",
    ),
    "layers.atomic": ({"os.link", "os.unlink"}, "makes results that appear whole"),
    "view.fuse.mount": ({"os.rmdir"}, "the folder that it made to mount on"),
}
"""The modules beside those of `host` that change files of the host by their names: by which calls, and which files."""


def _called(tree: ast.Module) -> Iterator[str]:
    """The full names of the functions that a module calls, as far as its imports tell them."""
    full: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {name.asname: name.name for name in node.names if name.asname}
        elif isinstance(node, ast.ImportFrom):
            full |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    for call in calls(tree):
        first, dot, rest = ast.unparse(call.func).partition(".")
        yield full.get(first, first) + dot + rest


def test_the_host_has_few_doors() -> None:
    found = {
        name.removeprefix("wclayer."): called
        for name, path in modules().items()
        if not name.startswith("wclayer.host") and (called := set(_called(parsed(path))) & _CHANGING)
    }
    assert found == {name: called for name, (called, _) in _DOORS.items()}


def test_a_call_is_known_by_any_name() -> None:
    source = "import os as o, io\nfrom os import open as f\nfrom tempfile import mkdtemp\n"
    tree = ast.parse(source + "def g(): o.mkdir(p); f(p); mkdtemp(); io.open(p); open(p); view.open(p)")
    assert {*_called(tree)} & _CHANGING == {"os.mkdir", "os.open", "tempfile.mkdtemp", "io.open", "open"}


_PATHS_WRITE = {
    "cli.demo": "the example's own tars, and changes in its mount",
    "engines.hcs.selftest": "a file in the mount of a scratch that Windows made",
    "layers.directory": "files of a staged directory, or of the scratch's pool of contents, through HostRoot",
}


def test_files_are_written_through_the_host() -> None:
    """Neither a `Path` nor anything like it is opened for writing elsewhere; a view has such methods itself."""
    found = {
        next((key for key in _PATHS_WRITE if f"{name}.".startswith(f"wclayer.{key}.")), name)
        for name, path in modules().items()
        if not name.startswith(("wclayer.host", "wclayer.view"))
        for call in calls(parsed(path))
        if _writes_by_method(call)
    }
    assert found == _PATHS_WRITE.keys()


def _writes_by_method(call: ast.Call) -> bool:
    """Tells whether a call is one of a method that writes a file, as `Path` has them."""
    if not isinstance(call.func, ast.Attribute):
        return False
    modes = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "mode")]
    known = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    writes = any(set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in known)
    return call.func.attr in ("write_bytes", "write_text", "touch") or (call.func.attr == "open" and writes)


def test_a_method_that_writes_is_recognised() -> None:
    for code, writes in (
        ("p.open('ab')", True), ("p.open(mode='r+b')", True), ("p.write_bytes(b'')", True), ("p.touch()", True),
        ("p.open('rb')", False), ("p.open()", False), ("p.read_bytes()", False), ("open(p, 'wb')", False),
    ):  # fmt: skip
        assert _writes_by_method(next(calls(ast.parse(code)))) is writes, code


def test_the_command_asks_no_database_and_no_engine() -> None:
    below = ("wclayer.engines.portable", "wclayer.engines.hcs", "wclayer.layers.directory.database")
    reached = {
        (item.by, item.module)
        for item in imports()
        if item.by.startswith("wclayer.cli") and item.module.startswith(below)
    }
    assert reached == set()
    for name, path in modules().items():
        if name.startswith("wclayer.cli"):
            called = {call.func.attr for call in calls(parsed(path)) if isinstance(call.func, ast.Attribute)}
            assert not called & {"query", "execute", "executescript", "executemany", "connect"}, name


def test_only_the_boundary_is_told_the_operation() -> None:
    """Below the public functions nothing takes the word that is only in the message: `during` adds it."""
    takes = {
        (name, function.name)
        for name, path in modules().items()
        for function in functions(parsed(path))
        if name != "wclayer.errors" and any(argument.arg == "operation" for argument in arguments(function))
    }
    assert takes == set()


def test_test_modules_stand_alone() -> None:
    """What several of them need is in a module of its own."""
    known = modules(ROOT / "tests")
    assert len(known) > 100
    assert [item for item in imports(ROOT / "tests") if item.module.rpartition(".")[2].startswith("test_")] == []


def test_every_public_name_has_its_home() -> None:
    """The names that type checkers see, those that are loaded when used, and `__all__` are the same."""
    seen = {
        name.name: node.module
        for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wclayer")
        for name in node.names
    }
    assert set(seen) == set(wclayer.__all__)
    assert seen.pop("__version__") == "wclayer._version"
    assert seen == wclayer._HOME_OF


def _signatures(module: str) -> dict[str, str]:
    """The public functions and methods of a module, each with its arguments and result."""
    found = {}
    for node in ast.parse((PACKAGE / module).read_text()).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        for member in members:
            if isinstance(member, ast.FunctionDef) and not (member.name.startswith("_") and member is node):
                owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
                found[owner + member.name] = f"({ast.unparse(member.args)}) -> {ast.unparse(member.returns or member)}"
    return found


def test_every_host_answers_the_same_questions() -> None:
    posix, windows = _signatures("host/posix.py"), _signatures("host/windows.py")
    assert len(posix) > 25
    assert windows.keys() == posix.keys()
    for name in posix.keys() - {"map_file"}:  # a file in memory is mapped, or read
        assert windows[name] == posix[name], name


def test_everything_public_is_documented() -> None:
    for name in wclayer.__all__:
        if name != "__version__":
            # A dataclass without a docstring gets one: its name and fields.
            document = getattr(wclayer, name).__doc__
            assert document, name
            assert not document.startswith(f"{name}("), name


def _table_rows(document: str, heading: str) -> list[str]:
    text = (ROOT / document).read_text()
    section = text.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def test_the_document_of_functions_lists_every_function() -> None:
    rows = " ".join(_rows_of("docs/functions.md"))
    for name in wclayer.__all__:
        if name[0].islower() or name.startswith(("Filter", "LayerDescriptor")):
            assert f"`{name}" in rows, name


def test_the_document_of_errors_is_true() -> None:
    rows = {row.split("|")[1].strip(" `"): row for row in _table_rows("docs/errors.md", "The family")}
    family = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.LayerError)
    }
    assert rows.keys() == family.keys()
    for name, kind in family.items():
        cells = [cell.strip(" `") for cell in rows[name].split("|")]
        assert (int(cells[3]), int(cells[4])) == (kind.code, kind.exit_status), name


def test_the_document_of_security_states_every_limit() -> None:
    rows = {cells[1].strip(" `"): cells for row in _rows_of("docs/security.md") if (cells := row.split("|"))}
    for limit in fields(Limits):
        assert rows[limit.name][2].strip() == str(limit.default), limit.name
        assert rows[limit.name][3].strip() == limit.metadata["meaning"], limit.name


def test_the_tests_that_documents_name_are_there() -> None:
    for path in ROOT.glob("docs/**/*.md"):
        for name in re.findall(r"`(tests/[a-zA-Z0-9_/.]+)`", path.read_text()):
            assert (ROOT / name).exists(), (path, name)


def _rows_of(document: str) -> list[str]:
    return [line for line in (ROOT / document).read_text().splitlines() if line.startswith("|")]


@pytest.mark.parametrize("path", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_ci_runs_the_readme_s_test_command() -> None:
    commands = re.findall(r"^    (python3 -m venv .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci/run").read_text().splitlines()


def test_every_dependency_has_its_reason() -> None:
    names = re.findall(r'^    "([a-z0-9._-]+)[>=<]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    text = (ROOT / "docs/dependencies.md").read_text()
    assert len(names) > 5
    for name in names:
        assert f"`{name}`" in text, name
