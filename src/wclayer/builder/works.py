"""What the steps of a build do in a workspace: copy, unpack, make a directory, run commands."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from wclayer.builder.bases import Base
from wclayer.builder.commands.command import Action
from wclayer.builder.commands.environment_block import Environment, process_environment
from wclayer.builder.commands.run import run_actions
from wclayer.builder.commands.state import Shell
from wclayer.builder.dockerfile.ignore import IgnoreRules
from wclayer.builder.files.context import BuildContext, ContextSource, Kind
from wclayer.builder.files.copying import Target, TextSource, check_target, copy_from_context
from wclayer.builder.files.placing import Ownership
from wclayer.builder.files.view_sources import copy_from_view, digest_of_sources, find_in_view
from wclayer.builder.machine.code_pages import CodePage, CodePages, code_pages
from wclayer.builder.plan import MadeStages, Output, StagePlan, located
from wclayer.builder.workspace import Workspace
from wclayer.errors import EntryNotDirectoryError, LayerError
from wclayer.formats.regf.values import ValueType
from wclayer.images.store import ImageStore
from wclayer.view.layer_view import LayerView
from wclayer.view.machine_environment import machine_variables
from wclayer.view.registry import Registry


@dataclass(frozen=True, slots=True)
class CopyFromContext:
    """COPY or ADD of files of the context, and of files whose contents are in the Dockerfile."""

    where: str
    context: BuildContext
    sources: Sequence[ContextSource]
    texts: Sequence[TextSource]
    target: Target
    ownership: Ownership
    unpack: bool
    latest: int | None

    def inputs(self, made: MadeStages) -> list[object]:
        """See `Work`: names, kinds and contents; times only where they are part of what is promised."""
        found: list[object] = ["copy", self.target.path, self.target.is_directory, self.unpack, _text(self.ownership)]
        for source in self.sources:
            found.append(source.name)
            for item in source.items:
                digest = self.context.digest(item).hex() if item.kind is Kind.FILE else ""
                link = "" if item.link is None else f"{item.link} {item.leads_to_directory}"
                time = 0 if self.latest is None else min(item.time, self.latest)
                found.append([item.below, item.kind.value, digest, link, time])
        found += [[text.name, _base64(text.data)] for text in self.texts]
        return found

    def carry_out(self, workspace: Workspace, made: MadeStages, output: Output) -> None:
        """See `Work`."""
        with located(self.where):
            copy_from_context(
                workspace.view, self.context, self.sources, self.target, self.ownership, texts=self.texts,
                unpack=self.unpack, on_entry=output.entries,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CopyFromImage:
    """COPY --from: files of an earlier stage or of an image."""

    where: str
    store: ImageStore
    origin: StagePlan | Base
    sources: Sequence[str]
    target: Target
    ownership: Ownership
    exclude: IgnoreRules | None
    excluded: Sequence[str]
    latest: int | None

    def check(self) -> None:
        """Looks for the sources in an image, which is there before anything is built; those of a stage are not."""
        if isinstance(self.origin, Base):
            with ExitStack() as stack:
                view = self._opened(self.origin.image.chain_ids, stack)
                found = [each for source in self.sources for each in find_in_view(view, source)]
                check_target(self.target, len(found))

    def inputs(self, made: MadeStages) -> list[object]:
        """See `Work`: everything that Windows stores of the sources."""
        with located(self.where), ExitStack() as stack:
            view = self._view(made, stack)
            found = [each for source in self.sources for each in find_in_view(view, source)]
            digest = digest_of_sources(view, found, exclude=self.exclude, latest=self.latest)
        return ["copy-from", digest.hex(), self.target.path, self.target.is_directory, _text(self.ownership)]

    def carry_out(self, workspace: Workspace, made: MadeStages, output: Output) -> None:
        """See `Work`."""
        with located(self.where), ExitStack() as stack:
            view = self._view(made, stack)
            found = [each for source in self.sources for each in find_in_view(view, source)]
            copy_from_view(
                workspace.view, view, found, self.target, self.ownership, exclude=self.exclude, on_entry=output.entries
            )

    def _view(self, made: MadeStages, stack: ExitStack) -> LayerView:
        return self._opened(made.chain_of(self.origin), stack)

    def _opened(self, chain: Sequence[str], stack: ExitStack) -> LayerView:
        if not chain:
            name = self.origin.name
            raise LayerError(self.where, f"the stage {name} has no layers, so there is nothing to copy from it")
        layers = stack.enter_context(self.store.hold_layers(chain))
        return stack.enter_context(LayerView(layers[::-1]))


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """WORKDIR: a directory that is made unless it exists."""

    where: str
    path: str

    def inputs(self, made: MadeStages) -> list[object]:
        """See `Work`."""
        return ["directory", self.path]

    def carry_out(self, workspace: Workspace, made: MadeStages, output: Output) -> None:
        """See `Work`."""
        with located(self.where):
            view = workspace.view
            if not view.exists(self.path):
                view.makedirs(self.path)
            elif not view.stat(self.path).is_directory:
                raise EntryNotDirectoryError(self.path, "is a file in the image; WORKDIR needs a directory")


@dataclass(frozen=True, slots=True)
class RunCommands:
    """RUN: commands whose effect is known."""

    where: str
    command: str | tuple[str, ...]
    actions: Sequence[Action]
    shell: Sequence[str]
    variables: Mapping[str, str]
    directory: str
    user: str
    code_pages: CodePages
    store: ImageStore = field(repr=False)

    def inputs(self, made: MadeStages) -> list[object]:
        """See `Work`. The registry is part of the layers below."""
        command = self.command if isinstance(self.command, str) else list(self.command)
        pages = [self.code_pages.oem.name, self.code_pages.ansi.name]
        return ["run", command, list(self.shell), sorted(self.variables.items()), self.directory, self.user, pages]

    def carry_out(self, workspace: Workspace, made: MadeStages, output: Output) -> None:
        """See `Work`.

        Raises:
            LayerError: a command fails; the message has the line and the exit code.
        """
        lines = _Lines(output, self.code_pages.oem)
        # The step has changed nothing yet, so the registry is that of the layers below.
        machine, _ = machine_of_layers(self.store, workspace.chain_ids)
        environment = process_environment(machine, self.variables, user=self.user)
        shell = Shell(
            workspace, environment, self.directory, self.user, lines.take, lines.take, code_pages=self.code_pages
        )
        with located(self.where):
            code = run_actions(self.actions, shell)
        lines.end()
        if code:
            raise LayerError(self.where, f"the command of RUN ended with the exit code {code}{lines.last()}")


def machine_of_layers(store: ImageStore, chain_ids: Sequence[str]) -> tuple[Environment, CodePages]:
    """Returns the machine's variables in the registry of layers, unexpanded, and the code pages.

    Args:
        store: the store.
        chain_ids: the chainIDs of the layers, base layer first.
    """
    if not chain_ids:
        return Environment(), CodePages()
    with store.hold_layers(chain_ids) as layers, Registry(layers[-1]) as registry:
        return _variables(registry), code_pages(registry.find)


def _variables(registry: Registry) -> Environment:
    found = Environment()
    for variable in machine_variables(registry.find):
        found.set(variable.name, variable.value, expands=variable.kind == ValueType.REG_EXPAND_SZ)
    return found


class _Lines:
    """Splits what commands print into lines."""

    _KEPT = 200

    def __init__(self, output: Output, code_page: CodePage) -> None:
        self._output = output
        self._code_page = code_page
        self._rest = b""
        self._last = ""

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._tell(line)
        if len(self._rest) > 1 << 16:
            self.end()

    def end(self) -> None:
        if self._rest:
            self._tell(self._rest)
            self._rest = b""

    def last(self) -> str:
        return f"; it said: {self._last}" if self._last else ""

    def _tell(self, line: bytes) -> None:
        text = self._code_page.shown(line).rstrip("\r")
        if text.strip():
            self._last = text.strip()[: self._KEPT]
            self._output.line(text)


def _text(ownership: Ownership) -> list[str]:
    descriptor = "" if ownership.descriptor is None else ownership.descriptor.encode().hex()
    return [str(ownership.owner or ""), str(ownership.group or ""), descriptor]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
