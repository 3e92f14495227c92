"""The house: imports point down, the documents name what is there."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

import wclayer
from wclayer import errors
from wclayer.cli.verbs import cli
from wclayer.model import Limits

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "wclayer"
# From the top down: a module may import from its own floor and from those below it.
FLOORS = ["cli", "", "engines", "view", "layers", "host", "formats", "win32"]


def _floor(module: str) -> int:
    first = module.split(".")[1] if "." in module else ""
    if first == "sample":
        return FLOORS.index("view")
    if first in ("model", "errors", "_types"):
        return FLOORS.index("win32")
    return FLOORS.index(first) if first in FLOORS else FLOORS.index("")


def _imports() -> list[tuple[str, str]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("wclayer"):
                for name in node.names:
                    # `from wclayer import host` is an import of wclayer.host.
                    below = PACKAGE.parent.joinpath(*node.module.split("."), name.name)
                    is_module = below.is_dir() or below.with_suffix(".py").is_file()
                    found.append((module, f"{node.module}.{name.name}" if is_module else node.module))
            elif isinstance(node, ast.Import):
                found += [(module, name.name) for name in node.names if name.name.startswith("wclayer")]
    return found


def test_imports_point_down() -> None:
    imports = _imports()
    assert len(imports) > 150
    exempt = {"wclayer.__main__"}
    upward = [(a, b) for a, b in imports if a not in exempt and _floor(a) > _floor(b)]
    assert upward == []


def test_formats_know_nothing_of_layers() -> None:
    shared = ("wclayer.errors", "wclayer._types")
    for module, imported in _imports():
        if module.startswith("wclayer.formats"):
            assert imported.startswith(("wclayer.formats", "wclayer.win32", "wclayer.errors", "wclayer._types")), (
                module,
                imported,
            )
        if module.startswith("wclayer.win32"):
            assert imported.startswith(("wclayer.win32", *shared)), (module, imported)


_DOORS = {
    "host/": "asks the operating system",
    "layers/staging.py": "makes results that appear whole",
    "layers/transport/writer.py": "writes into a staged directory",
    "layers/directory/": "writes into a staged directory, or the scratch's pool of contents, through HostRoot",
}
"""What makes files of layers and results."""


def _may_write(call: ast.Call) -> bool:
    """Whether a call opens a file of the host so that it can be changed, or could: its mode is not known here."""
    function = ast.unparse(call.func)
    if function in ("os.open", "tempfile.NamedTemporaryFile", "tempfile.mkstemp"):
        flags = " ".join(map(ast.unparse, call.args))
        return "os.O_RDONLY" not in flags or any(flag in flags for flag in ("O_CREAT", "O_TRUNC"))
    if function.endswith((".write_bytes", ".write_text")):
        return True
    is_method = function.endswith(".open") and function != "io.open"
    if not is_method and function not in ("open", "io.open", "os.fdopen"):
        return False
    # The mode of a method may be the first argument, or come after a path.
    modes = [*call.args[0 if is_method else 1 : 2], *(word.value for word in call.keywords if word.arg == "mode")]
    known = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    if not is_method and len(known) < len(modes):
        return True
    return any(set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in known)


def test_nobody_else_opens_files_for_writing() -> None:
    """One door to the host: who else may change a file of it is named here, with the reason."""
    others = {
        "cli/demo.py": "the example's own tars, and changes in its mount",
        "cli/main.py": "the null device in the place of a closed stream",
        "cli/verbs.py": "the null device in the place of a closed pipe",
        "engines/hcs/selftest.py": "a file in the mount of a scratch that Windows made",
        "engines/hcs/writer.py": "a utility VM's files, made by HostRoot",
        "layers/inputs.py": "a disk that the caller named, to be grown",
        "view/": "files of a view",
    }
    found = set()
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(tuple(_DOORS)):
            calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
            found |= {name for call in calls if _may_write(call)}
    assert {next((key for key in others if name.startswith(key)), name) for name in found} == others.keys()


def test_a_call_that_can_write_is_recognised() -> None:
    for code in ("open(p, 'r+b')", "open(p, mode)", "open(p, mode='w')", "p.open('ab')", "os.open(p, os.O_RDWR)",
                 "p.write_bytes(b'')", "tempfile.NamedTemporaryFile(dir=d)", "os.fdopen(fd, 'wb')"):  # fmt: skip
        assert _may_write(ast.parse(code, mode="eval").body), code  # type: ignore[arg-type]
    for code in (
        "open(p)",
        "open(p, 'rb')",
        "p.open('rb')",
        "p.read_bytes()",
        "os.open(p, os.O_RDONLY | os.O_NONBLOCK)",
    ):
        assert not _may_write(ast.parse(code, mode="eval").body), code  # type: ignore[arg-type]


def test_the_command_asks_no_database() -> None:
    for path in (PACKAGE / "cli").glob("*.py"):
        text = path.read_text()
        assert ".query(" not in text, path
        assert "sqlite3.connect" not in text, path


def test_every_public_name_has_its_home() -> None:
    """The names that type checkers see, those that are loaded when used, and `__all__` are the same."""
    seen = {
        name.name: node.module
        for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wclayer")
        for name in node.names
    }
    assert seen == wclayer._HOME_OF
    assert {*seen, "__version__"} == set(wclayer.__all__)


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


def test_the_readme_lists_every_verb_and_function() -> None:
    verbs = {re.findall(r"`wclayer ([a-z]+)", row)[0] for row in _table_rows("README.md", "Verbs")}
    assert verbs == set(cli.list_commands(click.Context(cli)))
    rows = " ".join(_table_rows("README.md", "Functions"))
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
