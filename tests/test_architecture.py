"""The house: imports point down, the documents name what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import wclayer
from wclayer import errors
from wclayer.cli.main import cli

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "wclayer"
# From the top down: a module may import from its own floor and from those below it.
FLOORS = ["cli", "", "engines", "view", "layers", "host", "formats", "win32"]
GROUND = {"model", "errors", "sample"}


def _floor(module: str) -> int:
    first = module.split(".")[1] if "." in module else ""
    if first == "sample":
        return FLOORS.index("view")
    if first in ("model", "errors"):
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
    for module, imported in _imports():
        if module.startswith("wclayer.formats"):
            assert imported.startswith(("wclayer.formats", "wclayer.win32", "wclayer.errors")), (module, imported)
        if module.startswith("wclayer.win32"):
            assert imported.startswith(("wclayer.win32", "wclayer.errors")), (module, imported)


def test_nobody_else_opens_files_for_writing() -> None:
    """One door to the host: only these modules make or change files."""
    doors = {"host/root.py", "host/posix.py", "host/windows.py", "layers/staging.py", "layers/transport/writer.py",
             "layers/directory/file_worker.py", "layers/directory/host_files.py", "layers/directory/file_pool.py",
             "engines/portable/images.py", "cli/demo.py"}  # fmt: skip
    pattern = re.compile(
        r"""O_WRONLY(?!\), sys.stdout)|O_CREAT|open\([^)\n]*["'][wax+]b?["']|\.write_(bytes|text)\(|os\.write\("""
    )
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if pattern.search(path.read_text())}
    # Through HostRoot, through a view, or into a pipe.
    allowed_callers = {"layers/directory/writer.py", "engines/portable/makebase.py", "layers/directory/hives.py",
                       "layers/directory/update.py", "layers/directory/scratch_update.py",
                       "layers/directory/scratch_writer.py", "view/layer_view.py",
                       "engines/hcs/writer.py", "engines/hcs/selftest.py",
                       "view/transfer.py", "view/path.py", "view/fuse.py", "view/server.py",
                       "view/filesystem.py", "layers/directory/scratch.py"}  # fmt: skip
    assert found - doors - allowed_callers == set()


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
            assert getattr(wclayer, name).__doc__, name


def _table_rows(document: str, heading: str) -> list[str]:
    text = (ROOT / document).read_text()
    section = text.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def test_the_readme_lists_every_verb_and_function() -> None:
    verbs = {re.findall(r"`wclayer ([a-z]+)", row)[0] for row in _table_rows("README.md", "Verbs")}
    assert verbs == set(cli.commands)
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
