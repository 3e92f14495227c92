"""Dockerfiles, the words in them, and the rules of `.dockerignore`."""

from __future__ import annotations

import contextlib

from fuzz.target import Target
from wclayer.builder.dockerfile.errors import DockerfileError
from wclayer.builder.dockerfile.ignore import exclude_rules, parse_ignore
from wclayer.builder.dockerfile.instructions import Instruction, Onbuild
from wclayer.builder.dockerfile.lines import decode_dockerfile
from wclayer.builder.dockerfile.parser import parse_dockerfile, parse_trigger
from wclayer.builder.dockerfile.words import MAX_EXPANDED, Expander
from wclayer.errors import FormatError

_VALUES = {"A": "value", "Path": "C:\\Windows;C:\\x", "EMPTY": "", "B": "a b"}


def _dockerfile(data: bytes) -> None:
    """Every instruction has its lines in the file, its words can be expanded, and a trigger can be read again."""
    text = decode_dockerfile(data, "D")
    file = parse_dockerfile(text, "D")
    lines = text.removeprefix("\ufeff").split("\n")
    before = 0
    for instruction in file.instructions:
        assert before < instruction.line <= instruction.last_line <= len(lines)
        assert instruction.raw.split("\n") == lines[instruction.line - 1 :][: instruction.raw.count("\n") + 1]
        before = instruction.last_line
        _expand(instruction, file.escape)
        if isinstance(instruction, Onbuild):
            _expand(parse_trigger(instruction.trigger, "base", file.escape), file.escape)
    for stage in file.stages:
        assert file.find_stage(str(stage.number)) is not None
    assert all(1 <= each.line <= len(lines) for each in file.advice)


def _expand(instruction: Instruction, escape: str) -> None:
    with contextlib.suppress(FormatError):
        instruction.expanded(Expander(_VALUES, escape))


def _words(data: bytes) -> None:
    """A text and the value of `V`, with a NUL between: a word has all that its words have, and no more."""
    text, _, value = data.decode(errors="replace").partition("\0")
    for escape in "\\`":
        values = {**_VALUES, "V": value}
        whole = Expander(values, escape).word(text)
        words = Expander(values, escape).words(text)
        assert len(whole) <= MAX_EXPANDED
        assert all(words)
        assert _unspaced("".join(words)) == _unspaced(whole)
        assert words or not whole.strip()
        Expander(values).heredoc(text)


def _unspaced(text: str) -> str:
    return "".join(char for char in text if not char.isspace())


def _ignore(data: bytes) -> None:
    """Rules and a path, with a NUL between: a walk that only looks where `keeps_below` says finds what counts."""
    text, _, path = data.decode(errors="replace").partition("\0")
    rules = parse_ignore(text, "D")
    parts = [part for part in path.split("/") if part]
    paths = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    ignored = [rules.is_ignored(each) for each in paths]
    if ignored and not ignored[-1]:
        above = zip(paths[:-1], ignored, strict=False)
        assert all(rules.keeps_below(each) for each, left_out in above if left_out)
    assert b"!" in data or not any(map(rules.keeps_below, paths))
    exclude_rules(text.splitlines()[:10])


_DOCKERFILE = r"""# escape=`
# syntax=docker/dockerfile:1
ARG VERSION=ltsc2022
FROM --platform=windows/amd64 registry.example/servercore:${VERSION:-x} AS Build
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
ARG A B="x y"
ENV ONE=1 TWO="C:\a b" three='$A'
ENV old form $ONE
WORKDIR C:\app
COPY --from=0 --chown=ContainerUser --acl="O:BAG:SYD:(A;;FA;;;SY)" --exclude=*.pdb --link ["a b", "C:\\x\\"]
COPY <<-EOF <<'two.txt' C:\files\
	$A
	EOF
raw
two.txt
ADD --checksum=sha256:00 --unpack=true https://host/file C:\
RUN mkdir a `
 # comment
  && copy b c
RUN <<EOF
mkdir x
EOF
RUN --network=none ["cmd", "/c", "x"]
"""
_STAGES = r"""
FROM scratch
LABEL a=b "c d"="e f"
LABEL a="b c" d=e
EXPOSE 80 443/tcp 1000-1003/udp $A
VOLUME ["C:\\data"]
VOLUME C:/a C:/b
USER ContainerAdministrator
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=0 --start-interval=100ms --retries=3 CMD curl x
HEALTHCHECK NONE
ONBUILD COPY . C:/src
ONBUILD COPY <<x C:/y
z
x
MAINTAINER someone <a@b>
ENTRYPOINT ["C:\app.exe"]
CMD []
FROM 0 AS b
COPY a C:\dst\
RUN dir \

  x
"""

_WORD_SEEDS = [
    b"a$A ${B:-x} \"q $V\" 'r' \\$A\0v",
    b"${V#*a}${V##*a}${V%b*}${V%%b?}\0xaybazb",
    b"${V/a*/x}${V//\\//\\\\}\0a/b/a",
    b"${N:+a}${N+b}${N:?m}\0",
    b"${EMPTY?x}${N-${A:-$B}} `$A\0",
]
_IGNORE_SEEDS = [
    b"*\n!src\nsrc/**/obj\n!src/lib/obj/keep.txt\0src/lib/obj/keep.txt",
    b"# c\n**/*.pdb\n[^a-c]?x\n\\*\n**/a**b/**\0a/b.pdb",
    b"**.dll\n/x/\n! y \na/*/*/*c\0a/b/c",
    b"[\n",
    b"!\n",
]

TARGETS = {
    "dockerfile": Target(
        _dockerfile, lambda: [_DOCKERFILE.encode(), _STAGES.encode(), b"\xff\xfeF", b"FROM"], (DockerfileError,),
        words=(b"FROM a\n", b"ONBUILD ", b"COPY ", b"RUN ", b"<<EOF\n", b"\nEOF\n", b"# escape=`\n", b"HEALTHCHECK "),
        max_size=4096, weight=2,
    ),
    "dockerfile_words": Target(
        _words, lambda: _WORD_SEEDS, (FormatError,), words=(b"${V", b"${A:-", b"//", b"}", b"\\", b"`"), max_size=512,
    ),
    "ignore": Target(
        _ignore, lambda: _IGNORE_SEEDS, (FormatError, DockerfileError), words=(b"**", b"!", b"[a-z]", b"/**/"),
        max_size=512,
    ),
}  # fmt: skip
