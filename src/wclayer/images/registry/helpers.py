"""Programs that keep credentials, `docker-credential-NAME` (docker-credential-helpers, "Development")."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading

from wclayer.errors import FormatError, InvalidDataError, LayerError, PathNotFoundError
from wclayer.images.json_view import parse_json
from wclayer.images.registry.options import Credentials

TIME_LIMIT = 60.0
"""The seconds that a program may take. It may ask the user."""
_MAX_ANSWER = 64 << 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_FOUND = b"credentials not found"
IDENTITY_USER = "<token>"
"""The user name of an identity token."""


def get(name: str, server: str) -> Credentials | None:
    """Returns the credentials that a program keeps for a server; None if it keeps none.

    Raises:
        PathNotFoundError: the program does not exist.
        LayerError: it fails, takes too long, or answers with something else.
    """
    status, answer = _run(name, "get", server.encode())
    if status != 0:
        if _NOT_FOUND in answer:
            return None
        raise _failure(name, f"ends with status {status}")
    try:
        view = parse_json(answer, "its answer")
        username, secret = view.text("Username"), view.text("Secret")
    except FormatError:
        # The message of the parser could show a part of the secret.
        raise InvalidDataError(_program(name), "its answer is not an object with Username and Secret") from None
    if username == IDENTITY_USER:
        return Credentials(identity_token=secret)
    return Credentials(username, secret) if username else None


def store(name: str, server: str, credentials: Credentials) -> None:
    """Gives credentials to a program.

    Raises:
        PathNotFoundError, LayerError: see `get`.
    """
    record = {
        "ServerURL": server,
        "Username": IDENTITY_USER if credentials.identity_token else credentials.username,
        "Secret": credentials.identity_token or credentials.password,
    }
    status, _ = _run(name, "store", json.dumps(record).encode())
    if status != 0:
        raise _failure(name, f"cannot store the credentials: it ends with status {status}")


def erase(name: str, server: str) -> None:
    """Makes a program forget the credentials of a server. It is no error if it keeps none.

    Raises:
        PathNotFoundError, LayerError: see `get`.
    """
    status, answer = _run(name, "erase", server.encode())
    if status != 0 and _NOT_FOUND not in answer:
        raise _failure(name, f"cannot erase the credentials: it ends with status {status}")


def _program(name: str) -> str:
    return f"docker-credential-{name}"


def _failure(name: str, detail: str) -> LayerError:
    return LayerError(_program(name), f"the program, which keeps credentials, {detail}")


def _run(name: str, verb: str, sent: bytes) -> tuple[int, bytes]:
    """Returns the exit status of a program, and what it writes. Its errors are not read: they could hold a secret."""
    if not _NAME.fullmatch(name):
        raise InvalidDataError(name[:80], "is not the name of a program that keeps credentials")
    path = shutil.which(_program(name))
    if path is None:
        raise PathNotFoundError(
            _program(name), "the program, which is configured to keep credentials, is not in PATH; install it, or"
            " remove it from the file of credentials",
        )  # fmt: skip
    process = subprocess.Popen([path, verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    answers: list[bytes] = []
    # In a thread: a child of the program may hold the pipe open after the program is killed.
    thread = threading.Thread(target=_converse, args=(process, sent, answers), daemon=True)
    thread.start()
    thread.join(TIME_LIMIT)
    if not answers:
        process.kill()
        process.wait()
        raise _failure(name, f"did not answer within {TIME_LIMIT:g} seconds")
    if len(answers[0]) > _MAX_ANSWER:
        process.kill()
        process.wait()
        raise _failure(name, f"answers with more than {_MAX_ANSWER} bytes")
    try:
        return process.wait(TIME_LIMIT), answers[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise _failure(name, f"did not end within {TIME_LIMIT:g} seconds") from None


def _converse(process: subprocess.Popen[bytes], sent: bytes, answers: list[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout as output:
        try:
            with process.stdin as stream:
                stream.write(sent)
        except OSError:
            # The program ended without reading; its status says why.
            pass
        answers.append(output.read(_MAX_ANSWER + 1))
