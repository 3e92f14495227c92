"""The commands of RUN do on a scratch what cmd.exe under Wine does on real files.

Each line runs in a folder of its own, which has the same few files; all lines run in one process of Wine's cmd. Then
the names, the contents, the read-only attributes and the success are compared. `REASONS` lists where they differ, and
why: mostly where Wine 8 does not do what Windows does. `docs/build.md` has the rules.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.builder.scratches import Console, scratch_view
from tests.packages import cache_folder
from wclayer.view.layer_view import LayerView
from wclayer.view.transfer import copy_into
from wclayer.win32.attributes import FileAttributes

WINE = {"/usr/lib/wine/wine64": "/usr/lib/wine/wineserver64", "/usr/bin/wine64": "/usr/bin/wineserver"}
FILES = {
    "a.txt": b"alpha\r\n",
    "b.txt": b"beta\r\n",
    "c.log": b"log\r\n",
    "noext": b"none\r\n",
    "two.dots.txt": b"dots\r\n",
    "Long name.text": b"long\r\n",
    "ro.dat": b"read-only\r\n",
    "sub/x.txt": b"x\r\n",
    "sub/deep/y.txt": b"y\r\n",
    "dest/a.txt": b"older\r\n",
}
READ_ONLY = "ro.dat"
EMPTY = "empty"

LINES = [
    *r"""
mkdir new
mkdir new\a\b
md new one two
mkdir sub
mkdir a.txt
mkdir "new dir"
mkdir a.txt\x
mkdir sub\new sub\deep\new2
md ..\#\up
mkdir new.
md sub new
mkdir new && cd new && mkdir inner
rmdir empty
rmdir sub
rmdir nothing
rd a.txt
rd /s /q sub
rd /s/q sub
rmdir /q empty
rd /q /s sub dest
rd nothing\x
rd sub\deep\y.txt
rd "empty"
del a.txt
del *.txt
del a.txt b.txt
del nothing
del /q *
del /q *.*
del /q sub
del /s *.txt
del /s /q *.txt
erase c.log
del ro.dat
del /f ro.dat
del ?.txt
del *.t*
del /q sub\*
del nothing\x
del /a:r ro.dat
del /q /a:-r *
del /q *.
del *ext*
del "Long name.text"
del *.log *.dat
copy a.txt z.txt
copy a.txt sub
copy a.txt sub\
copy a.txt b.txt
copy /y a.txt b.txt
copy a.txt a.txt
copy nothing z
copy *.txt sub
copy *.txt *.bak
copy sub empty
copy sub\x.txt
copy a.txt ro.dat
copy ro.dat z
copy /b a.txt+b.txt z
copy a.txt+b.txt z
copy /b a.txt + b.txt + c.log z
copy nul z
copy a.txt nothing\z
copy /b *.txt z
copy "Long name.text" short
copy a.txt dest
copy /y a.txt dest\a.txt
copy a.txt nul
copy sub\* empty
copy /b a.txt z & copy /b z y
copy ?.txt dest
copy a.txt ..\#\up.txt
copy noext sub\*
copy a.txt x.*
copy a.txt *.z
copy a.txt sub\deep\*.q
move a.txt z.txt
move a.txt sub
move sub new
move sub dest
move *.txt sub
move nothing z
move a.txt b.txt
move /y a.txt b.txt
move a.txt dest
move ro.dat z
move a.txt nothing\z
move sub empty
move *.log empty
move a.txt ro.dat
move sub\x.txt .
move sub\deep empty\deeper
ren a.txt z.txt
rename a.txt b.txt
ren *.txt *.bak
ren a.txt *.z
ren sub new
ren nothing z
ren ?.txt ?x.txt
ren a.txt A.TXT
ren sub\x.txt z.txt
ren *.log x.*
ren two.dots.txt *.z
ren two.dots.txt ???.z
ren noext *.z
ren sub dest
ren a.txt ??zz.*
ren "Long name.text" short.t
attrib +r a.txt
attrib -r ro.dat
attrib +r *.txt
attrib +r *.txt /s
attrib -r ro.dat & del ro.dat
attrib +r nothing
attrib +r a.txt & del a.txt
attrib +r sub /d
type nul > z
type a.txt > z
type a.txt b.txt > z
type a.txt >> b.txt
type *.txt > z.out
type nothing > z
type nul >> a.txt
type sub\x.txt sub\deep\y.txt > z
type a.txt nothing b.txt > z
echo hi> z
echo hi > z
echo.>z
echo. > z
echo a b  c>z
echo "q" > z
echo hi>> a.txt
echo hi>sub\z
echo hi > nothing\z
echo hi > ro.dat
echo hi>> ro.dat
echo one>z& echo two>>z
(echo one& echo two)>z
echo a^&b>z
echo a^^b>z
echo "a&b">z
echo a 1>z
echo a1>z
>z echo a
echo a>z b
echo a>"z y"
echo on top>z
@echo a>z
echo:a>z
echo,a>z
echo(a>z
echo a;b,c=d>z
echo hi>nul
cd sub && echo a>z
cd sub & cd deep & echo a>z
cd nothing & echo a>z
cd nothing || echo a>z
cd nothing && echo a>z
cd /d sub & echo a>z
cd a.txt & echo a>z
cd .. & cd # & echo a>z
cd sub\.. & echo a>z
cd Long & echo a>z
pushd sub & echo a>z & popd & echo b>y
pushd sub& pushd deep& popd& echo a>z
chdir sub&echo a>z
if exist a.txt echo a>z
if exist nothing echo a>z
if not exist nothing echo a>z
if exist sub echo a>z
if exist *.txt echo a>z
if exist sub\ echo a>z
if exist nothing\a.txt (echo a>z) else echo b>z
if exist a.txt (del a.txt) else (echo b>z)
if exist nothing (del a.txt) else (echo b>z)
if "a"=="a" echo a>z
if "a"=="b" (echo a>z) else echo b>z
if /i a==A echo a>z
if not a==b echo a>z
if a==A (echo a>z) else (echo b>z)
if 1==1 (echo a& echo b)>z
if exist a.txt if exist b.txt echo a>z
mkdir sub || echo a>z
mkdir sub && echo a>z
mkdir new && echo a>z || echo b>z
mkdir sub && echo a>z || echo b>z
mkdir new & echo a>z
mkdir sub & echo a>z
del nothing && echo a>z
del nothing || echo a>z
copy nothing z || echo a>z
ren nothing z || echo a>z
move nothing z || echo a>z
rd nothing || echo a>z
rd sub || echo a>z
type nothing>z || echo a>y
attrib +r nothing || echo a>z
set X=5& echo a>z
rem x & echo a>z
(mkdir p& mkdir q)& echo a>z
(mkdir p && mkdir q) && (mkdir r)
mkdir p q\r 2>nul
mkdir sub 2>z
del a.txt 2>nul >nul
copy a.txt q >nul 2>&1
mkdir p >nul && copy *.txt p >nul
if defined UNSET (echo a>z) else echo b>z
if defined PATH echo a>z
mkdir p & if errorlevel 1 (echo a>z) else echo b>z
xcopy sub new /i /q
xcopy sub new /s /i /q /y
xcopy sub new /e /i /q /y
xcopy a.txt sub /y /q
xcopy *.txt sub /y /q
xcopy sub dest /s /y /q
xcopy sub\* empty /y
xcopy a.txt dest /y
xcopy nothing empty /y
xcopy ro.dat empty /y /q
xcopy ro.dat empty /y /q /k
xcopy sub empty /t /e /y
xcopy a.txt empty\ /y
xcopy sub new\deeper /s /i /y
xcopy /y /s sub\*.txt empty
""".strip().splitlines(),
    "echo\ta>z",
]
"""The lines; `#` is the folder of the line itself."""

REASONS: dict[str, list[str]] = {
    "Wine 8 heeds the directory of a missing file in `del` as little as the file": ["del nothing\\x"],
    "under Wine, `del /a:r` removes read-only files; Windows needs /F": ["del /a:r ro.dat"],
    "Wine's `copy` and `ren` know only simple wildcards in a target": [
        "copy *.txt *.bak", "copy noext sub\\*", "copy a.txt x.*", "copy a.txt *.z", "copy a.txt sub\\deep\\*.q",
        "ren *.txt *.bak", "ren ?.txt ?x.txt", "ren two.dots.txt *.z", "ren two.dots.txt ???.z", "ren a.txt ??zz.*",
    ],
    "Wine replaces and opens read-only files": [
        "copy a.txt ro.dat", "move a.txt ro.dat", "echo hi > ro.dat", "echo hi>> ro.dat",
    ],
    "Wine takes the new spelling of a name for the same name, and keeps the old one": ["ren a.txt A.TXT"],
    "Wine reports no failure of `move`, `ren` and `attrib`": [
        "move nothing z", "ren nothing z", "attrib +r nothing", "type z >> r & ren new q",
        "move /y b.txt sub & attrib -r b.txt & move /y z sub", "attrib -r noext & attrib -r z",
        "attrib +r b.txt & del /q ?.txt & attrib -r a.txt", "rd /s /q sub & ren new r", "move /y z empty",
        "attrib -r z & move /y z sub", "echo 73 >> p & move /y c.log a.txt & attrib +r z",
    ],
    "on Windows, `||` makes a failure the error level; `echo` leaves it": [
        "ren nothing z || echo a>z", "move nothing z || echo a>z", "rd nothing || echo a>z", "rd sub || echo a>z",
        "attrib +r nothing || echo a>z",
    ],
    "Wine's `type` knows no wildcards": ["type *.txt > z.out"],
    "Wine does not redirect a block": ["(echo one& echo two)>z", "if 1==1 (echo a& echo b)>z"],
    "Wine prints the character after `echo`": ["echo,a>z", "echo(a>z"],
    "Wine's `&&` and `||` do not see a failure of cd and mkdir, and see one of `del` where Windows has none": [
        "cd nothing && echo a>z", "mkdir sub && echo a>z", "mkdir new && echo a>z || echo b>z",
        "del nothing || echo a>z",
    ],
    "the message is Wine's own": ["mkdir sub 2>z"],
    "under Wine, a command that succeeds leaves the error level of an earlier failure": [
        "cd new & move /y b.txt noext", "type z >> r & cd sub\\deep",
        "attrib -r z & copy /y /b noext noext & move /y a.txt sub\\deep",
    ],
}  # fmt: skip
DIFFERENCES = {line: reason for reason, lines in REASONS.items() for line in lines}
"""Lines for which Wine's cmd leaves another tree or another success, each with the reason."""


def generated() -> list[str]:
    """Lines made of chance, the same in each run."""
    chance = random.Random(17)
    directories = ["sub", "empty", "dest", "sub\\deep", "new"]
    files = ["a.txt", "b.txt", "c.log", "noext", "sub\\x.txt", "z"]
    masks = ["*.txt", "?.txt", "*.log", "n*", "*o*", "two*", "*.t?t"]

    def one() -> str:
        directory, file, other = chance.choice(directories), chance.choice(files), chance.choice(files)
        mask, new = chance.choice(masks), chance.choice("pqr")
        name = chance.choice([directory, file])
        return chance.choice(
            [
                f"mkdir {name}", f"rmdir {name}", f"rd /s /q {directory}", f"del /q {name}", f"del /q {mask}",
                f"copy /y /b {file} {name}", f"copy /y /b {mask} {name}", f"move /y {file} {other}",
                f"move /y {file} {directory}", f"ren {name} {new}", f"type {file} >> {new}", f"cd {name}",
                f"echo {chance.randrange(100)} >> {new}", f"attrib +r {file}", f"attrib -r {file}",
            ]
        )  # fmt: skip

    def line() -> str:
        # Wine 8 knows no failure of most commands, so `&&` and `||` say nothing.
        text = " & ".join(one() for _ in range(chance.randrange(1, 4)))
        return f"if exist {chance.choice(files)} ({text}) else ({one()})" if chance.random() < 0.2 else text

    return [line() for _ in range(100)]


Tree = dict[str, tuple[bytes | None, bool]]
"""The contents (None for a directory) and whether it is read-only, by path."""


def fill(folder: Path) -> None:
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / EMPTY).mkdir()
    (folder / READ_ONLY).chmod(0o444)


def host_tree(folder: Path) -> Tree:
    found: Tree = {}
    for place in sorted(folder.rglob("*")):
        mode = place.stat().st_mode
        is_file = stat.S_ISREG(mode)
        found[place.relative_to(folder).as_posix()] = (
            (place.read_bytes(), not mode & stat.S_IWUSR) if is_file else (None, False)
        )
    return found


def view_tree(view: LayerView, top: str) -> Tree:
    found: Tree = {}
    pending = [top]
    while pending:
        for status in view.scan(pending.pop()):
            path = status.path.removeprefix("Files/")
            name = path.removeprefix(top.removeprefix("C:\\").replace("\\", "/") + "/")
            if status.is_directory:
                pending.append("C:\\" + path.replace("/", "\\"))
                found[name] = (None, False)
            else:
                is_read_only = bool(status.info.attributes & FileAttributes.READONLY)
                found[name] = (view.read_bytes("C:\\" + path), is_read_only)
    return found


@pytest.fixture(scope="module")
def prefix() -> Path:
    wine = next((place for place in WINE if os.path.exists(place)), None)
    if wine is None:
        pytest.skip("needs wine64")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / "wine-cmd"
    with (cache / "wine-cmd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            subprocess.run([wine, "wineboot", "-i"], env=environment(place), capture_output=True, check=True)
            (place / "ready").touch()
    return place


def environment(prefix: Path) -> dict[str, str]:
    return os.environ | {
        "WINEPREFIX": str(prefix), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree=;mshtml=", "LC_ALL": "C.UTF-8",
    }  # fmt: skip


def run_in_wine(prefix: Path, folder: Path, lines: list[str]) -> list[bool]:
    """Runs each line in its folder; returns whether it succeeded."""
    wine = next(place for place in WINE if os.path.exists(place))
    here = "Z:" + str(folder).replace("/", "\\")
    script = ["@echo off"]
    for number, line in enumerate(lines):
        script += [
            f"cd /d {here}\\{number}",
            "call :succeed",
            line.replace("#", str(number)).replace("%", "%%"),
            f"if errorlevel 1 (echo bad>{here}\\{number}.code) else echo ok>{here}\\{number}.code",
        ]
    script += ["exit /b 0", ":succeed", "exit /b 0"]
    (folder / "all.bat").write_bytes("\r\n".join(script).encode("cp437") + b"\r\n")
    subprocess.run(
        [wine, "cmd", "/c", f"{here}\\all.bat"], env=environment(prefix), input=b"N\r\n" * 1000, capture_output=True,
        check=False, timeout=300,
    )  # fmt: skip
    codes = [folder / f"{number}.code" for number in range(len(lines))]
    assert all(code.exists() for code in codes), "Wine's cmd ended before the last line"
    return [code.read_text().strip() == "ok" for code in codes]


@pytest.fixture(scope="module")
def compared(prefix: Path, bases: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, object]]:
    """The lines whose results differ, with both results: Wine's, and that on a scratch."""
    lines = [*LINES, *generated()]
    folder = tmp_path_factory.mktemp("wine")
    template = tmp_path_factory.mktemp("template")
    fill(template)
    for number in range(len(lines)):
        shutil.copytree(template, folder / str(number), copy_function=shutil.copy2)
    there = run_in_wine(prefix, folder, lines)
    found: dict[str, tuple[object, object]] = {}
    with scratch_view(tmp_path_factory.mktemp("scratch"), bases) as view:
        for number, line in enumerate(lines):
            directory = f"C:\\t\\{number}"
            copy_into(view, template, directory, recursive=True)
            view.set_attributes(f"{directory}\\{READ_ONLY}", int(FileAttributes.READONLY | FileAttributes.ARCHIVE))
            console = Console(view, directory, {"PATH": "C:\\Windows"})
            error_level = console.error_level_after(line.replace("#", str(number)))
            ours = (error_level == 0, view_tree(view, directory))
            theirs = (there[number], host_tree(folder / str(number)))
            if ours != theirs:
                found[line] = theirs, ours
    return found


def test_each_line_does_what_it_does_under_wine_but_for_known_differences(
    compared: dict[str, tuple[object, object]],
) -> None:
    assert {line: results for line, results in compared.items() if line not in DIFFERENCES} == {}


def test_no_difference_is_listed_that_is_none(compared: dict[str, tuple[object, object]]) -> None:
    assert DIFFERENCES.keys() - compared.keys() == set()
