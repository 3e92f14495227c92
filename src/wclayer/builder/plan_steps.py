"""Turns the instructions of a stage into steps, all of whose words are expanded and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from wclayer.builder.commands.environment_block import Environment, process_environment
from wclayer.builder.commands.known_files import FileKind
from wclayer.builder.commands.run import DEFAULT_SHELL, parse_run
from wclayer.builder.commands.state import ADMINISTRATOR, PlannedState
from wclayer.builder.dockerfile import instructions as ins
from wclayer.builder.dockerfile.ignore import exclude_rules
from wclayer.builder.dockerfile.parser import Stage, parse_trigger
from wclayer.builder.dockerfile.words import Expander
from wclayer.builder.files.copying import Target, TextSource, check_file_name, check_target, image_path
from wclayer.builder.files.download import Download
from wclayer.builder.files.placing import Ownership
from wclayer.builder.files.view_sources import missing, patterns_of
from wclayer.builder.image import BuiltImage
from wclayer.builder.machine.code_pages import CodePages
from wclayer.builder.plan import (
    Arguments,
    BuildRequest,
    PlannedStep,
    StageOrder,
    StagePlan,
    Work,
    located,
    variables_of,
    words_text,
)
from wclayer.builder.planned_files import PlannedFiles
from wclayer.builder.security.accounts import parse_owner
from wclayer.builder.security.stated_security import parse_stated
from wclayer.builder.works import CopyFromContext, CopyFromImage, MakeDirectory, RunCommands, machine_of_layers
from wclayer.errors import EntryNotDirectoryError, InvalidParameterError, NotSupportedError, PathNotFoundError
from wclayer.images.edit import ConfigChanges
from wclayer.images.store import ImageStore
from wclayer.win32.names import name_key

_USER = re.compile(r'[^"/\[\]:;|=,+*?<>\x00-\x1f\\]+(?:\\[^"/\[\]:;|=,+*?<>\x00-\x1f\\]+)?')
_URL = re.compile(r"(?:https?|ftp)://|git@|git://|ssh://", re.IGNORECASE)
_GIT = re.compile(r"git@|git://|ssh://|.*\.git(?:#.*)?\Z", re.IGNORECASE)
PATH_HIDDEN = (
    "ENV PATH replaces the PATH in the image's registry wholly; `setx /M PATH` in RUN changes the one in the registry"
)
_MIXED_FORMS = (
    "ENTRYPOINT and CMD have different forms (shell and exec); on Windows they are put together in an unexpected way;"
    " write both in the exec form"
)
_Planned = tuple[str, ConfigChanges | None, Work | None]
"""What the history says, the changes of the configuration, the work."""


class StageState:
    """What is known of a stage between two of its instructions.

    Args:
        image: what the stage begins with.
        machine: the machine's variables in its registry.
        code_pages: the code pages that its registry states.
        files: its files.
    """

    def __init__(self, image: BuiltImage, machine: Environment, code_pages: CodePages, files: PlannedFiles) -> None:
        config = image.parsed.view.view("config")
        self.image = image
        self.env = dict(variables_of(image))
        self.args: dict[str, str] = {}
        self.workdir = config.text("WorkingDir") or "C:\\"
        self.user = config.text("User")
        self.shell = tuple(config.texts("Shell")) or DEFAULT_SHELL
        self.machine = machine
        self.code_pages = code_pages
        self.files = files
        self.on_build = config.texts("OnBuild")
        self.is_escaped = config.flag("ArgsEscaped")
        self.has_entrypoint = bool(config.texts("Entrypoint"))
        self.sets_cmd = False

    def copy(self) -> StageState:
        """Returns the state with which a stage begins that is built on this one."""
        made = object.__new__(StageState)
        made.__dict__.update(self.__dict__)
        made.env, made.args, made.sets_cmd = dict(self.env), dict(self.args), False
        made.machine = self.machine.copy()
        return made

    @property
    def variables(self) -> dict[str, str]:
        """The values of the names in the words of instructions: those of ENV hide those of ARG."""
        if not self.args:
            return self.env
        of_env = {name_key(name) for name in self.env}
        return {name: value for name, value in self.args.items() if name_key(name) not in of_env} | self.env

    def set_env(self, name: str, value: str) -> None:
        """Sets a variable; one of another case is the same."""
        self.env = _with_variable(self.env, name, value)

    def set_arg(self, name: str, value: str) -> None:
        """Sets an argument; one of another case is the same."""
        self.args = _with_variable(self.args, name, value)


def _with_variable(variables: Mapping[str, str], name: str, value: str) -> dict[str, str]:
    key = name_key(name)
    return {known: old for known, old in variables.items() if name_key(known) != key} | {name: value}


class StepPlanner:
    """Plans the steps of stages.

    Args:
        request: what is built.
        store: the store.
        order: the stages.
        arguments: the values of ARG.
    """

    def __init__(self, request: BuildRequest, store: ImageStore, order: StageOrder, arguments: Arguments) -> None:
        self._request = request
        self._dockerfile = request.dockerfile
        self._store = store
        self._order = order
        self._arguments = arguments
        self._states: dict[int, StageState] = {}
        self.warnings: list[str] = []

    def plan(self, stage: Stage, image: BuiltImage) -> StagePlan:
        """Returns the plan of a stage, after those that it needs: all its steps are checked.

        Args:
            stage: the stage.
            image: the image at the bottom of the stage.

        Raises:
            LayerError: something cannot be built; the message names the line, the word, and what can be done.
        """
        plan = self._order.plan(stage)
        if stage.number in self._states:
            return plan
        if isinstance(plan.origin, StagePlan):
            below = self._dockerfile.stages[plan.origin.number]
            self.plan(below, image)
            state = self._states[below.number].copy()
        else:
            state = StageState(
                image,
                *machine_of_layers(self._store, image.chain_ids),
                PlannedFiles(self._store, image.chain_ids),
            )
        self._states[stage.number] = state
        if state.on_build:
            self._triggers(plan, stage, state)
        for instruction in stage.instructions:
            plan.steps.append(self._step(f"{self._dockerfile.name}:{instruction.line}", instruction, stage, state))
        if plan.steps:
            with located(plan.steps[-1].where):
                state.image = state.image.with_all([step.changes for step in plan.steps if step.changes is not None])
        return plan

    def _triggers(self, plan: StagePlan, stage: Stage, state: StageState) -> None:
        """Adds the ONBUILD instructions of what the stage begins with, which end there."""
        triggers, state.on_build = state.on_build, ()
        for trigger in triggers:
            name = plan.origin.name
            where = f"{plan.where}: ONBUILD of {name}"
            with located(where):
                instruction = parse_trigger(trigger, name, self._dockerfile.escape)
                plan.steps.append(self._step(where, instruction, stage, state))
        plan.steps.append(PlannedStep(plan.where, "ONBUILD ends", "ONBUILD", ConfigChanges(on_build=())))

    def _step(self, where: str, instruction: ins.Instruction, stage: Stage, state: StageState) -> PlannedStep:
        expander = Expander(state.variables, self._dockerfile.escape)
        with located(where):
            expanded = instruction.expanded(expander)
            plan = _PLANS[type(instruction)]
            created_by, changes, work = plan(self, where, expanded, stage, state)
            if changes is not None:
                # What cannot be in a configuration is refused before anything is made. The check of all changes
                # together follows at the end of the stage: here it would read those of all steps before it again.
                state.image.with_config(changes)
        for name in sorted(expander.unset):
            self.warnings.append(f"{where}: {name} has no value, and stands for an empty text")
        # The history has the shell of a RUN in it, too, which is of no use to whoever looks on.
        text = instruction.text if isinstance(instruction, ins.Run) else created_by
        return PlannedStep(where, text, created_by, changes, work)

    # One method for each instruction.

    def _env(self, where: str, env: ins.Env, stage: Stage, state: StageState) -> _Planned:
        pairs = {each.name: each.value or "" for each in env.variables}
        for name, value in pairs.items():
            if name_key(name) == "PATH":
                self.warnings.append(f"{where}: {PATH_HIDDEN}")
            state.set_env(name, value)
        return _pairs_text("ENV", pairs), ConfigChanges(env=pairs), None

    def _arg(self, where: str, arg: ins.Arg, stage: Stage, state: StageState) -> _Planned:
        values = self._arguments.values_of(arg, state.variables)
        for name, value in values.items():
            state.set_arg(name, value)
            if name_key(name) in map(name_key, state.env):
                self.warnings.append(f"{where}: ARG {name} has no effect: a variable of the environment has its name")
        shown = (f"{each.name}={values[each.name]}" if each.name in values else each.name for each in arg.arguments)
        return f"ARG {' '.join(shown)}", None, None

    def _label(self, where: str, label: ins.Label, stage: Stage, state: StageState) -> _Planned:
        pairs = {each.name: each.value or "" for each in label.labels}
        return _pairs_text("LABEL", pairs), ConfigChanges(labels=pairs), None

    def _workdir(self, where: str, workdir: ins.Workdir, stage: Stage, state: StageState) -> _Planned:
        if not workdir.path:
            raise InvalidParameterError(where, "WORKDIR names no directory")
        path = image_path(workdir.path, state.workdir)
        state.workdir = path.replace("/", "\\") if "/" in path else "C:\\"
        if state.files.kind(path) is FileKind.FILE:
            raise EntryNotDirectoryError(where, f"{state.workdir} is a file in the image; WORKDIR needs a directory")
        state.files = state.files.with_directory(path)
        return f"WORKDIR {state.workdir}", ConfigChanges(working_dir=state.workdir), MakeDirectory(where, path + "/")

    def _user(self, where: str, user: ins.User, stage: Stage, state: StageState) -> _Planned:
        if not _USER.fullmatch(user.user) or len(user.user) > 256:
            raise InvalidParameterError(
                where, f"USER {user.user[:80]!r} is not the name of a user of Windows: write NAME or DOMAIN\\NAME"
            )
        state.user = user.user
        return f"USER {user.user}", ConfigChanges(user=user.user), None

    def _expose(self, where: str, expose: ins.Expose, stage: Stage, state: StageState) -> _Planned:
        return f"EXPOSE {' '.join(expose.ports)}", ConfigChanges(ports=expose.ports), None

    def _volume(self, where: str, volume: ins.Volume, stage: Stage, state: StageState) -> _Planned:
        if not all(volume.paths):
            raise InvalidParameterError(where, "VOLUME names an empty path")
        for path in volume.paths:
            image_path(path, state.workdir)
        return f"VOLUME {words_text(volume.paths)}", ConfigChanges(volumes=volume.paths), None

    def _stop_signal(self, where: str, stop: ins.StopSignal, stage: Stage, state: StageState) -> _Planned:
        return f"STOPSIGNAL {stop.signal}", ConfigChanges(stop_signal=stop.signal), None

    def _shell(self, where: str, shell: ins.Shell, stage: Stage, state: StageState) -> _Planned:
        state.shell = shell.words
        return f"SHELL {words_text(shell.words)}", ConfigChanges(shell=shell.words), None

    def _maintainer(self, where: str, maintainer: ins.Maintainer, stage: Stage, state: StageState) -> _Planned:
        return f"MAINTAINER {maintainer.author}", ConfigChanges(author=maintainer.author), None

    def _onbuild(self, where: str, onbuild: ins.Onbuild, stage: Stage, state: StageState) -> _Planned:
        state.on_build = (*state.on_build, onbuild.trigger)
        return f"ONBUILD {onbuild.trigger}", ConfigChanges(on_build=state.on_build), None

    def _healthcheck(self, where: str, check: ins.Healthcheck, stage: Stage, state: StageState) -> _Planned:
        if check.command is None:
            return "HEALTHCHECK NONE", ConfigChanges(healthcheck={"Test": ["NONE"]}), None
        kind = "CMD-SHELL" if check.command.in_shell else "CMD"
        record: dict[str, object] = {"Test": [kind, *check.command.words]}
        times = (
            ("Interval", check.interval), ("Timeout", check.timeout), ("StartPeriod", check.start_period),
            ("StartInterval", check.start_interval), ("Retries", check.retries),
        )  # fmt: skip
        record |= {key: value for key, value in times if value}
        return check.text, ConfigChanges(healthcheck=record), None

    def _cmd(self, where: str, cmd: ins.Cmd, stage: Stage, state: StageState) -> _Planned:
        words, is_escaped = _command(cmd.command, state)
        state.sets_cmd = True
        if words and state.has_entrypoint and is_escaped != state.is_escaped:
            self.warnings.append(f"{where}: {_MIXED_FORMS}")
            is_escaped = state.is_escaped
        state.is_escaped = is_escaped
        return f"CMD {words_text(words)}", ConfigChanges(cmd=words, args_escaped=is_escaped), None

    def _entrypoint(self, where: str, entrypoint: ins.Entrypoint, stage: Stage, state: StageState) -> _Planned:
        words, is_escaped = _command(entrypoint.command, state)
        state.has_entrypoint, state.is_escaped = bool(words), is_escaped
        # The command of the base was made for another program.
        cmd = None if state.sets_cmd else ()
        changes = ConfigChanges(entrypoint=words, cmd=cmd, args_escaped=is_escaped)
        return f"ENTRYPOINT {words_text(words)}", changes, None

    def _run(self, where: str, run: ins.Run, stage: Stage, state: StageState) -> _Planned:
        command: str | tuple[str, ...] = run.command.words[0] if run.command.in_shell else run.command.words
        if run.heredoc is not None:
            command = _one_line(where, run.heredoc.content)
        user = state.user or ADMINISTRATOR
        planned = PlannedState(
            where, process_environment(state.machine, state.variables, user=user), state.machine, state.workdir, user,
            code_pages=state.code_pages, files=state.files,
        )  # fmt: skip
        actions = parse_run(command, state.shell, planned)
        state.machine = planned.machine
        if planned.files is None:
            state.files = state.files.unknown()
        text = " ".join([*state.shell, command]) if isinstance(command, str) else words_text(command)
        work = RunCommands(
            where, command, tuple(actions), state.shell, state.variables, state.workdir, user, state.code_pages,
            self._store,
        )  # fmt: skip
        return f"RUN {text}", None, work

    def _copy(self, where: str, copy: ins.Copy, stage: Stage, state: StageState) -> _Planned:
        if not copy.origin:
            return self._from_context(where, copy, state, unpack=False)
        if copy.heredocs:
            raise NotSupportedError(where, "COPY --from with << is not possible; copy them in two instructions")
        target, ownership = self._target(copy, state)
        check_target(target, len(copy.sources))
        origin = self._order.other(copy.origin, stage, where)
        if isinstance(origin, StagePlan):
            self.plan(self._dockerfile.stages[origin.number], origin.base.image)
            _check_sources(copy, self._states[origin.number].files)
        exclude = exclude_rules(copy.exclude) if copy.exclude else None
        work = CopyFromImage(
            where, self._store, origin, copy.sources, target, ownership, exclude, copy.exclude, self._request.latest
        )
        work.check()
        state.files = state.files.changed(target.path)
        return f"COPY --from={copy.origin} {_copied(copy)}", None, work

    def _add(self, where: str, add: ins.Add, stage: Stage, state: StageState) -> _Planned:
        remote = [source for source in add.sources if _URL.match(source)]
        if not remote:
            if add.checksum:
                raise InvalidParameterError(where, "ADD --checksum is for a URL; files of the context need none")
            return self._from_context(where, add, state, unpack=add.unpack is not False)
        if len(add.sources) > 1 or add.heredocs:
            raise NotSupportedError(where, "ADD takes a URL alone; write an ADD for each source")
        if _GIT.match(remote[0]):
            raise NotSupportedError(where, f"{remote[0]!r} is a Git repository; clone it into the context")
        if not add.checksum:
            raise NotSupportedError(
                where, f"{remote[0]!r} has no --checksum: what is fetched must be known; write ADD --checksum=sha256:…"
            )
        target, ownership = self._target(add, state)
        state.files = state.files.changed(target.path)
        work = Download.of(where, remote[0], add.checksum, target, ownership, unpack=add.unpack is True)
        return f"ADD {_copied(add)}", None, work

    def _from_context(self, where: str, copy: ins.CopyInstruction, state: StageState, *, unpack: bool) -> _Planned:
        context = self._request.context
        for source in copy.sources:
            if _URL.match(source):
                raise NotSupportedError(where, f"{source!r}: COPY takes no URL; write ADD --checksum=sha256:… URL")
        target, ownership = self._target(copy, state)
        exclude = exclude_rules(copy.exclude) if copy.exclude else None
        found = [each for source in copy.sources for each in context.find(source, exclude)]
        # A file of the Dockerfile has no time of its own: 1980, the first year that every archive can hold.
        texts = tuple(TextSource(each.name, each.content.encode(), _TEXT_TIME) for each in copy.heredocs)
        check_target(target, len(found) + len(texts))
        if target.is_directory:
            for text in texts:
                check_file_name(text.name)
        state.files = (
            state.files.changed(target.path) if unpack else state.files.with_copies(context, found, texts, target)
        )
        work = CopyFromContext(where, context, found, texts, target, ownership, unpack, self._request.latest)
        return f"{copy.name} {_copied(copy)}", None, work

    def _target(self, copy: ins.CopyInstruction, state: StageState) -> tuple[Target, Ownership]:
        owner, group = parse_owner(copy.chown) if copy.chown else (None, None)
        descriptor = parse_stated(copy.acl) if copy.acl else None
        return Target.of(copy.destination, state.workdir), Ownership(owner, group, descriptor)


def _check_sources(copy: ins.Copy, files: PlannedFiles) -> None:
    """Checks that a stage has the sources of COPY --from, as far as that is known before anything is built.

    Raises:
        PathNotFoundError: it does not have one.
        InvalidParameterError: one is on another drive, or its wildcards are wrong.
    """
    for source in copy.sources:
        names = patterns_of(source)
        path = "/".join(["C:", *(name for name in names if isinstance(name, str))])
        if all(isinstance(name, str) for name in names) and files.kind(path) is FileKind.ABSENT:
            raise PathNotFoundError(copy.origin, missing(source))


_TEXT_TIME = 119_600_064_000_000_000
"""1980-01-01 as a FILETIME."""

_PLANS: Mapping[type[ins.Instruction], Callable[..., _Planned]] = {
    ins.Env: StepPlanner._env, ins.Arg: StepPlanner._arg, ins.Label: StepPlanner._label,
    ins.Workdir: StepPlanner._workdir, ins.User: StepPlanner._user, ins.Expose: StepPlanner._expose,
    ins.Volume: StepPlanner._volume, ins.StopSignal: StepPlanner._stop_signal, ins.Shell: StepPlanner._shell,
    ins.Maintainer: StepPlanner._maintainer, ins.Onbuild: StepPlanner._onbuild,
    ins.Healthcheck: StepPlanner._healthcheck, ins.Cmd: StepPlanner._cmd, ins.Entrypoint: StepPlanner._entrypoint,
    ins.Run: StepPlanner._run, ins.Copy: StepPlanner._copy, ins.Add: StepPlanner._add,
}  # fmt: skip


def _command(command: ins.CommandLine, state: StageState) -> tuple[tuple[str, ...], bool]:
    """Returns the words of CMD or ENTRYPOINT, and whether the first one is a whole command line (`ArgsEscaped`).

    Reference: Docker's builder on Windows, which makes one word of the shell form.
    """
    if command.in_shell:
        return (" ".join([*state.shell, *command.words]),), True
    return command.words, False


def _one_line(where: str, content: str) -> str:
    """Returns the command of a heredoc, which has one line.

    Raises:
        NotSupportedError: it has several.
    """
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if len(lines) != 1:
        raise NotSupportedError(
            where,
            f"RUN << has {len(lines)} lines, of which cmd runs the first one alone; write one line, with && between",
        )
    return lines[0]


def _pairs_text(name: str, pairs: Mapping[str, str]) -> str:
    return f"{name} {' '.join(f'{key}={value}' for key, value in pairs.items())}"


def _copied(copy: ins.CopyInstruction) -> str:
    flags = [f"--chown={copy.chown}"] * bool(copy.chown) + [f"--acl={copy.acl}"] * bool(copy.acl)
    flags += [f"--exclude={pattern}" for pattern in copy.exclude]
    sources = [*copy.sources, *(f"<<{each.name}" for each in copy.heredocs)]
    return " ".join([*flags, *sources, copy.destination])
