"""Writes docs/api.md: the public names of wclayer with their signatures and docstrings.

    python docs/api.py

The document is made of the docstrings alone. tests/test_api_document.py fails while the two differ.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import wclayer

DOCUMENT = Path(__file__).with_name("api.md")
_HEAD = """\
# API

<!-- Made by `python docs/api.py` from the docstrings: change those, not this document. -->

Every public name of the package `wclayer`. Paths are `str` or `os.PathLike[str]` (`StrPath`); a parent chain (`Chain`)
is one path, or a sequence of paths, nearest parent first. Functions raise `LayerError`s ([errors.md](errors.md)).
"""
_SECTIONS = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Example|Examples):\s*$", re.MULTILINE)
_ITEM = re.compile(r"^([\w.*, ]+?)(?: \(.*\))?:(?:\s+|$)(.*)", re.DOTALL)
_EXAMPLE = re.compile(r"(?:^[ ]*(?:>>>|\.\.\.).*\n?)+", re.MULTILINE)


def _group(name: str, value: object) -> str:
    """Returns the title under which a public name stands."""
    if isinstance(value, type) and issubclass(value, BaseException):
        return "Errors"
    if getattr(value, "__module__", "").startswith(("wclayer.images.", "wclayer.builder.", "wclayer.comparison.")):
        return "Images"
    if getattr(value, "__module__", "").startswith("wclayer.inventory."):
        return "Inventory"
    if getattr(value, "__module__", "").startswith("wclayer.survey."):
        return "Survey"
    if getattr(value, "__module__", "").startswith("wclayer.search."):
        return "Search"
    if getattr(value, "__module__", "").startswith("wclayer.rights."):
        return "Rights"
    if getattr(value, "__module__", "").startswith("wclayer.fleet."):
        return "Fleets"
    if not isinstance(value, type):
        home = inspect.unwrap(value).__module__ if inspect.isfunction(value) else ""
        if home == "wclayer.engines.api" or home.endswith(".activation"):
            return "Functions of the Host Compute Service"
        return "Other functions"
    if name.endswith(("LayerReader", "LayerWriter", "BackupReader", "BackupWriter")):
        return "Readers and writers"
    if value.__module__.startswith("wclayer.view.") or name in ("RegistryEditor", "ImageStore", "Engine"):
        return "Views, registry and engines"
    return "Values"


_GROUPS = {
    "Functions of the Host Compute Service": "These have the names and the argument order of hcsshim's package.",
    "Other functions": "",
    "Readers and writers": "Each is a `LayerReader` or a `LayerWriter`; these two describe the methods.",
    "Views, registry and engines": "",
    "Inventory": "",
    "Survey": "What the layers of an image take, and what of it is wasted.",
    "Search": "Entries by their metadata, and files by their contents.",
    "Rights": "Who may do what, and who may write what they should not ([acl.md](acl.md)).",
    "Fleets": "Tables of what all images of a registry hold. They need the extra `wclayer[fleet]`.",
    "Images": "Whole images ([images.md](images.md)). Each place is an `ImageSource`, an `ImageTarget`, or has both.",
    "Values": "What functions take and return.",
    "Errors": "Every error is a `LayerError`, and so an `OSError`. [errors.md](errors.md) has the codes and the rule.",
}


def document() -> str:
    """Returns the text of the document."""
    groups: dict[str, list[str]] = {title: [] for title in _GROUPS}
    for name in sorted(wclayer.__all__, key=str.lower):
        if not name.startswith("__"):
            groups[_group(name, getattr(wclayer, name))].append(name)
    groups["Errors"].sort(key=lambda name: name != "LayerError")
    groups["Readers and writers"].sort(key=lambda name: name not in ("LayerReader", "LayerWriter"))
    parts = [_HEAD]
    for title, names in groups.items():
        parts.append(f"- {title}: " + ", ".join(f"[`{name}`](#{_anchor(name)})" for name in names))
    for title, names in groups.items():
        parts.append(f"\n## {title}\n")
        parts += [_GROUPS[title] + "\n"] * bool(_GROUPS[title])
        for name in names:
            parts += [f'<a id="{_anchor(name)}"></a>\n'] * _needs_mark(name)
            parts.append(_described(name, getattr(wclayer, name)))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _anchor(name: str) -> str:
    """Returns the fragment of a name: that of its heading, or of its mark if two headings differ only in case."""
    return f"class-{name.lower()}" if _needs_mark(name) else name.lower()


def _needs_mark(name: str) -> bool:
    """Whether a function has the same name but for its case: each renderer makes another fragment of the second one."""
    return name != name.lower() and name.lower() in wclayer.__all__


def _described(name: str, value: Any) -> str:
    if not isinstance(value, type):
        return f"### {name}\n\n{_code(_signature(name, value))}\n\n{_markdown(inspect.getdoc(value))}\n"
    parts = [f"### {name}\n"]
    own = value.__dict__
    constructor = own.get("__init__") or (own.get("__new__") if "_fields" in own else None)
    is_protocol = getattr(value, "_is_protocol", False)
    if constructor is not None and not is_protocol and not issubclass(value, enum.Enum):
        parts.append(_code(_signature(name, constructor)) + "\n")
    else:
        bases = [base.__name__ for base in value.__bases__ if base not in (object, typing.Generic)]
        parts.append(_code(f"class {name}" + (f"({', '.join(bases)})" if bases else "")) + "\n")
    # A dataclass without a docstring has its signature for one, an enumeration that of its base class.
    text = own.get("__doc__") or ""
    parts.append(_markdown("" if text.startswith(f"{name}(") else inspect.cleandoc(text)) + "\n")
    if (
        constructor is not None
        and inspect.getdoc(constructor)
        and getattr(constructor, "__module__", "") == value.__module__
    ):
        parts.append(_markdown(_own_doc(value, "__init__")) + "\n")
    if issubclass(value, enum.Enum):
        parts += [f"- `{member}`" for member in value.__members__]
    else:
        parts += _fields(value)
        parts += [text for member in own for text in _member(name, value, member)]
        parts += _inherited(value)
        if value is wclayer.Engine:
            same = [f"[`{member}`](#{member})" for member in own if member in wclayer.__all__]
            parts.append(f"Methods that are documented as functions: {', '.join(same)}.\n")
    return "\n".join(parts) + "\n"


def _fields(value: type) -> list[str]:
    """Returns what the source says of each field of a dataclass, and the meaning of each limit."""
    if not dataclasses.is_dataclass(value):
        return []
    said = {field.name: field.metadata.get("meaning", "") for field in dataclasses.fields(value)}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    assert isinstance(definition, ast.ClassDef)
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            said[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    lines = [f"- `{name}`: {text}" for name, text in said.items() if text]
    return ["**Fields**\n", *lines, ""] if lines else []


def _member(owner: str, value: type, name: str) -> Iterator[str]:
    """Yields what the document says of one public method or property of a class."""
    member = value.__dict__[name]
    text = _own_doc(value, name)
    if name.startswith("_") or not text:
        return
    if owner == "Engine" and name in wclayer.__all__:
        return
    if isinstance(member, property):
        returns = _annotation(inspect.signature(member.fget).return_annotation) if member.fget else ""
        yield f"#### {owner}.{name}\n\n{_code(f'{name}: {returns}')}\n\n{_markdown(text)}\n"
    elif callable(member) or isinstance(member, (classmethod, staticmethod)):
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        yield f"#### {owner}.{name}\n\n{_code(_signature(name, function))}\n\n{_markdown(text)}\n"


def _own_doc(value: type, name: str) -> str:
    """Returns the docstring of a member, from a base class if it has none itself."""
    for base in value.__mro__:
        member = base.__dict__.get(name)
        if base.__module__.startswith("wclayer") and member is not None and getattr(member, "__doc__", None):
            return inspect.cleandoc(member.__doc__)
    return ""


def _inherited(value: type) -> list[str]:
    """Returns a line that names the methods which base classes in the package define."""
    names = {
        name
        for base in value.__mro__[1:]
        if base.__module__.startswith("wclayer") and base.__module__ != "wclayer.errors"
        for name, member in base.__dict__.items()
        if not name.startswith("_")
        and name not in value.__dict__
        and (callable(member) or isinstance(member, property))
    }
    return [f"Inherited: {', '.join(f'`{name}`' for name in sorted(names))}.\n"] if names else []


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _signature(name: str, function: Callable[..., Any]) -> str:
    """Returns a function's signature as source text, on several lines if it is long."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    words: list[str] = []
    for index, parameter in enumerate(parameters):
        if parameter.name in ("self", "cls") and index == 0:
            continue
        before = [each.kind for each in parameters[:index]]
        if parameter.kind is parameter.KEYWORD_ONLY and not {parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL} & {
            *before
        }:
            words.append("*")
        words.append(_parameter(parameter))
        last_positional = index + 1 == len(parameters) or parameters[index + 1].kind is not parameter.kind
        if parameter.kind is parameter.POSITIONAL_ONLY and last_positional:
            words.append("/")
    returns = signature.return_annotation
    arrow = "" if returns in (inspect.Signature.empty, None, "None") else f" -> {_annotation(returns)}"
    line = f"{name}({', '.join(words)}){arrow}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){arrow}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + "**" * (parameter.kind is parameter.VAR_KEYWORD)
    text = stars + parameter.name
    annotated = parameter.annotation is not parameter.empty
    if annotated:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        default = parameter.default
        if isinstance(default, enum.Enum):
            shown = f"{type(default).__name__}.{default.name}"
        else:
            shown = "..." if repr(default).startswith("<") else repr(default)
        text += f" = {shown}" if annotated else f"={shown}"
    return text


def _annotation(annotation: object) -> str:
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation.__name__
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", str(annotation))


def _markdown(text: str | None) -> str:
    """Returns a docstring in Google's style as Markdown."""
    if not text:
        return ""
    first, *rest = _SECTIONS.split(text)
    parts = [_prose(first)]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        # What is not indented stands after the section.
        inside = re.match(r"(?:\n|[ \t].*(?:\n|$))*", body)
        end = inside.end() if inside else 0
        parts.append(f"**{title}**\n\n{_items(title, inspect.cleandoc(body[:end]))}")
        parts.append(_prose(body[end:]))
    return "\n\n".join(part for part in parts if part)


def _items(title: str, body: str) -> str:
    """Returns the body of a section: as a list where it names things."""
    if title in ("Returns", "Yields", "Example", "Examples"):
        return _prose(body)
    lines = []
    for item in re.split(r"\n(?=\S)", body):
        flat = " ".join(item.split())
        match = _ITEM.match(flat)
        names = ", ".join(f"`{name.strip()}`" for name in match[1].split(",")) if match else ""
        lines.append(f"- {names}: {match[2]}" if match else f"- {flat}")
    return "\n".join(lines)


def _prose(text: str) -> str:
    return _EXAMPLE.sub(lambda match: _code(inspect.cleandoc(match[0])) + "\n", text.strip("\n")).strip()


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
