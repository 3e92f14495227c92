"""`audit_rights`: finds out who can write what they should not."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from wclayer._types import StrPath
from wclayer.errors import InvalidParameterError, LimitExceededError, during, limit_hint
from wclayer.images.opening import ImageLayers
from wclayer.inventory.facts.chain import ImageFacts
from wclayer.inventory.item import Finding, FindingKind
from wclayer.inventory.opening import open_subject
from wclayer.layers.progress import Progress, ProgressCallback, report
from wclayer.model import limits_in_use
from wclayer.rights.access import Token
from wclayer.rights.audit.files import FileAudit
from wclayer.rights.audit.findings import Findings
from wclayer.rights.audit.judge import Judge
from wclayer.rights.audit.keys import KeyAudit
from wclayer.rights.audit.model import RightsAudit
from wclayer.rights.audit.places import NamedPaths
from wclayer.rights.audited import AUTHENTICATED, EVERYONE
from wclayer.rights.names_of_image import names_of_image
from wclayer.win32.accounts import account_sid
from wclayer.win32.sid import Sid


@during("audit rights", takes_over=True)
def audit_rights(
    subject: ImageLayers | ImageFacts | StrPath,
    *,
    accounts: Iterable[str] = (),
    progress: ProgressCallback | None = None,
) -> RightsAudit:
    r"""Returns who can write what they should not: programs, services, and what else others trust.

    Asked for are those who are no administrators, by the groups that Windows puts them in: Everyone, Users,
    Authenticated Users, INTERACTIVE, Guests, ANONYMOUS LOGON and others. What they may is found by an access check:
    denials, the order of the entries, the owner's rights, a missing DACL and mandatory labels count.

    Looked at are `Windows`, `Program Files` and `ProgramData`, programs elsewhere on C: outside of the users' profiles,
    the root of C:, and, wherever they are: programs of services, drivers and scheduled tasks, startup folders, the
    directories of `Path`, and the program that the image runs; of the registry the keys of services, and those that
    name programs which Windows runs by itself. Links are not followed. Apps in AppContainers are not asked for.

    Args:
        subject: an open image (`open_image`, or `open_image_facts`), the path of a layer directory, which is taken over
            its parents, or that of a disk file.
        accounts: more accounts that are asked for: `NETWORK SERVICE`, `BUILTIN\IIS_IUSRS`, `S-1-5-21-…`.
        progress: called for each file, directory and key.

    Returns:
        The audit. What is damaged is one of its problems.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the layer cannot be opened.
        InvalidParameterError: an account has no SID that is known.
        LimitExceededError: there are more files than the limit `entries` allows.
        LayerError: the host refuses to read.
    """
    judge = Judge(_tokens(accounts))
    state = Progress()
    with closing(open_subject(subject)) as opened:
        names, problem = names_of_image(opened.registry.find)
        findings = Findings(names)
        if problem:
            findings.add_problem(Finding(FindingKind.DAMAGED, r"HKLM\SAM", problem))
        named = NamedPaths(opened)
        for each in named.problems:
            findings.add_problem(each)

        def tell(name: str) -> None:
            state.entries += 1
            if state.entries > (most := limits_in_use().entries):
                raise LimitExceededError(opened.name, f"more than {most} files and keys {limit_hint('entries')}")
            state.name = name
            report(state, progress)

        keys, files = KeyAudit(opened, judge, findings), FileAudit(opened, judge, named, findings)
        keys.run(tell)
        files.run(tell)
        told = findings.in_order()
        return RightsAudit(
            name=opened.name,
            layers=opened.layers,
            findings=tuple(each for each in told if not each.expected),
            expected=tuple(each for each in told if each.expected),
            left_out=findings.left_out,
            checked=keys.checked + files.checked,
            descriptors=judge.descriptors,
            problems=findings.problems,
        )


def _tokens(accounts: Iterable[str]) -> dict[Sid, Token]:
    tokens: dict[Sid, Token] = {}
    for name in accounts:
        try:
            sid = account_sid(name)
        except ValueError as error:
            raise InvalidParameterError(name, str(error)) from None
        tokens[sid] = Token.of(sid, AUTHENTICATED, EVERYONE)
    return tokens
