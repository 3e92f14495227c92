"""The instructions of a Dockerfile, each with its lines.

The words of an instruction are as they are written: with quotes, escapes and variables, until `expanded` replaces them.
An instruction whose words Docker does not expand (CMD, RUN, …) returns itself there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from wclayer.builder.dockerfile.forms import Assignment
from wclayer.builder.dockerfile.lines import Heredoc
from wclayer.builder.dockerfile.values import parse_port, parse_signal
from wclayer.builder.dockerfile.words import Expander
from wclayer.errors import FormatError


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What RUN, CMD, ENTRYPOINT and HEALTHCHECK run.

    Attributes:
        words: the words of the exec form; in the shell form, one text for the shell.
        in_shell: whether it has the shell form.
    """

    words: tuple[str, ...]
    in_shell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An instruction of a Dockerfile.

    Attributes:
        line: the number of its first line, from 1.
        last_line: the number of its last line.
        text: the instruction on one line, without comments inside.
        raw: its lines as in the file.
    """

    name: ClassVar[str] = ""
    line: int
    last_line: int
    text: str
    raw: str

    def expanded(self, expander: Expander) -> Self:
        """Returns the instruction with the variables in its words replaced, if Docker replaces them in this one.

        Raises:
            FormatError: a word cannot be expanded (see `Expander.word`).
        """
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """FROM: begins a stage.

    Attributes:
        image: the image, `scratch`, or the name of an earlier stage.
        platform: the value of --platform; "" without one.
        alias: the name of the stage in lower case; "" without one.
    """

    name: ClassVar[str] = "FROM"
    image: str
    platform: str = ""
    alias: str = ""

    def expanded(self, expander: Expander) -> Self:
        """Returns it with the values of the ARG instructions before the first FROM."""
        return replace(self, image=expander.word(self.image), platform=expander.word(self.platform))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """ARG: names that a build may set, each with its default.

    A default is expanded only if the build does not set the name, and may use the names before it in the same
    instruction; `expanded` therefore leaves them. The builder calls `Expander.word` for each.

    Attributes:
        arguments: the names; the value is None without a default.
    """

    name: ClassVar[str] = "ARG"
    arguments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    """ENV: variables of the environment.

    Attributes:
        variables: names and values. All values are expanded with those from before the instruction.
    """

    name: ClassVar[str] = "ENV"
    variables: tuple[Assignment, ...]

    def expanded(self, expander: Expander) -> Self:
        return replace(self, variables=_assigned(self.variables, expander))


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """LABEL: labels of the image.

    Attributes:
        labels: names and values.
    """

    name: ClassVar[str] = "LABEL"
    labels: tuple[Assignment, ...]

    def expanded(self, expander: Expander) -> Self:
        return replace(self, labels=_assigned(self.labels, expander))


def _assigned(pairs: Sequence[Assignment], expander: Expander) -> tuple[Assignment, ...]:
    assigned = []
    for each in pairs:
        name = expander.word(each.name)
        if not name:
            raise FormatError(f"{each.name!r} stands for an empty name")
        assigned.append(Assignment(name, expander.word(each.value or "")))
    return tuple(assigned)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyInstruction(Instruction):
    """What COPY and ADD have in common.

    Attributes:
        sources: the paths, patterns and URLs to copy.
        heredocs: the files whose contents are in the Dockerfile; the name is that of the file.
        destination: the path in the image.
        chown: the value of --chown; "" without one.
        acl: the value of --acl, a security descriptor as SDDL; "" without one.
        link: whether --link is given. It has no effect on what is made.
        exclude: the patterns of --exclude.
    """

    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...] = ()
    destination: str
    chown: str = ""
    acl: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()

    def expanded(self, expander: Expander) -> Self:
        return replace(
            self,
            sources=tuple(map(expander.word, self.sources)),
            heredocs=tuple(
                replace(each, content=expander.heredoc(each.content)) if each.expands else each
                for each in self.heredocs
            ),
            destination=expander.word(self.destination),
            chown=expander.word(self.chown),
            acl=expander.word(self.acl),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(CopyInstruction):
    """COPY: files of the context, of another stage, or of an image.

    Attributes:
        origin: the value of --from: the name or number of an earlier stage, or an image; "" for the context.
    """

    name: ClassVar[str] = "COPY"
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(CopyInstruction):
    """ADD: files of the context, what tar files of it hold, or a file of a URL.

    Attributes:
        checksum: the value of --checksum ("sha256:…"); "" without one.
        unpack: whether tar files are unpacked; None if --unpack is not given, which means those of the context.
    """

    name: ClassVar[str] = "ADD"
    checksum: str = ""
    unpack: bool | None = None

    def expanded(self, expander: Expander) -> Self:
        # `super()` without arguments does not know the class that `slots` makes anew.
        base = CopyInstruction.expanded(self, expander)
        return replace(base, checksum=expander.word(self.checksum))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """RUN: a command.

    Attributes:
        command: the command. Of a heredoc, it is the content.
        heredoc: the heredoc that is the command, or None.
    """

    name: ClassVar[str] = "RUN"
    command: CommandLine
    heredoc: Heredoc | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    """CMD: the default command of a container, or the arguments of its entry point.

    Attributes:
        command: the command; no words for `CMD []`.
    """

    name: ClassVar[str] = "CMD"
    command: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    """ENTRYPOINT: the program of a container.

    Attributes:
        command: the command; no words for `ENTRYPOINT []`.
    """

    name: ClassVar[str] = "ENTRYPOINT"
    command: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """SHELL: the program and its arguments for the shell form of what follows.

    Attributes:
        words: the words, at least one.
    """

    name: ClassVar[str] = "SHELL"
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    """WORKDIR: the directory for what follows and of a container.

    Attributes:
        path: the path, absolute or relative to the directory before.
    """

    name: ClassVar[str] = "WORKDIR"
    path: str

    def expanded(self, expander: Expander) -> Self:
        return replace(self, path=expander.word(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """USER: the user of what follows and of a container.

    Attributes:
        user: the name.
    """

    name: ClassVar[str] = "USER"
    user: str

    def expanded(self, expander: Expander) -> Self:
        return replace(self, user=expander.word(self.user))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """EXPOSE: ports on which a container listens.

    Attributes:
        ports: as they are written; after `expanded`, each as "NUMBER/PROTOCOL", sorted.
    """

    name: ClassVar[str] = "EXPOSE"
    ports: tuple[str, ...]

    def expanded(self, expander: Expander) -> Self:
        words = [word for text in self.ports for word in expander.words(text)]
        ports = {port for word in words for port in parse_port(word)}
        return replace(self, ports=tuple(sorted(ports)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """VOLUME: directories that are volumes of a container.

    Attributes:
        paths: the paths, at least one.
    """

    name: ClassVar[str] = "VOLUME"
    paths: tuple[str, ...]

    def expanded(self, expander: Expander) -> Self:
        return replace(self, paths=tuple(map(expander.word, self.paths)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    """STOPSIGNAL: the signal that ends a container.

    Attributes:
        signal: a name or a number.
    """

    name: ClassVar[str] = "STOPSIGNAL"
    signal: str

    def expanded(self, expander: Expander) -> Self:
        return replace(self, signal=parse_signal(expander.word(self.signal)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """HEALTHCHECK: the command that tells whether a container works.

    Attributes:
        command: the command; None for NONE, which switches the check of the base image off.
        interval: nanoseconds between two checks; 0 means the default, here and below.
        timeout: nanoseconds that a check may take.
        start_period: nanoseconds in which a failure does not count.
        start_interval: nanoseconds between two checks in this period.
        retries: the failures one after another that make a container unhealthy.
    """

    name: ClassVar[str] = "HEALTHCHECK"
    command: CommandLine | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """ONBUILD: an instruction for images that are built on this one.

    Attributes:
        trigger: the instruction as a text, which the configuration stores.
    """

    name: ClassVar[str] = "ONBUILD"
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    """MAINTAINER: the author of the image. Docker prefers a label.

    Attributes:
        author: the text, which is not expanded.
    """

    name: ClassVar[str] = "MAINTAINER"
    author: str
