"""The completion of each shell: the script that asks the command, how the shell's line is read, how it is answered.

The scripts hand over the line as it was typed, and insert what they get: neither click's nor the shells' own way brings
a backslash, a colon or a space of a Windows path through every shell.

An answer has a first line: `words`; `open`, if there is one word only, and more of it follows; or `files`, if the shell
is to offer the files of the host. A line for each word comes after it.

References: Bash and Readline (`Programmable Completion`, `_rl_find_completion_word`), zsh (zshcompwid), fish
(`complete`).
"""

from __future__ import annotations

import os
import re
import sys
from typing import NamedTuple

import click
from click.shell_completion import ShellComplete

from wclayer.cli.completing import Word, words_of
from wclayer.cli.word_kind import COMPLETION_VARIABLE, WordKind

_SCRIPT = "source"
"""What `COMPLETION_VARIABLE` asks for besides words: `bash_source` prints the script of Bash."""
_LINE, _REGION, _WORDS, _WORD = "WCLAYER_LINE", "WCLAYER_REGION", "WCLAYER_WORDS", "WCLAYER_WORD"
_FILES, _ANSWER, _OPEN = "files", "words", "open"
_UNQUOTED = re.compile(r"[\w@%+=:,./-]")
"""A character that Bash takes as it is."""
_SEPARATOR = re.compile(r"[\t\n]")
"""What separates the words, and the parts of a word, in an answer: no word of one has it."""
_REDIRECTION = re.compile(r"\d*(?:&>>?|>[>|&]?|<[<&]{0,2})")

_BASH = """\
%(complete_func)s() {
    local kind line
    COMPREPLY=()
    {
        IFS= read -r kind
        while IFS= read -r line; do COMPREPLY+=("$line"); done
    } < <(WCLAYER_LINE="${COMP_LINE:0:COMP_POINT}" WCLAYER_REGION="$2" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    # The words are in order, and have their quotes.
    case $kind in
        words) compopt +o default +o bashdefault -o nosort ;;
        open) compopt +o default +o bashdefault -o nospace ;;
    esac
}
complete -o bashdefault -o default -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local -a answer words_open words_final display_open display_final parts
    local line word="$words[CURRENT]"
    # Of a word in which the cursor stands, zsh has no part as it was typed.
    [[ -n $SUFFIX ]] && word="$QIPREFIX$IPREFIX$PREFIX"
    answer=("${(@f)$(WCLAYER_WORDS="${(F)words[1,CURRENT-1]}" WCLAYER_WORD="$word" \\
        %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")
    case $answer[1] in
        words|open) ;;
        *) _files; return ;;
    esac
    for line in "${(@)answer[2,-1]}"; do
        parts=("${(@ps:\\t:)line}")
        if [[ $parts[1] == open ]]; then
            words_open+=("$parts[2]"); display_open+=("$parts[3]")
        else
            words_final+=("$parts[2]"); display_final+=("$parts[3]")
        fi
    done
    # What was typed may differ in case, or in quotes: -U has zsh replace it.
    (( $#words_open )) && compadd -U -V wclayer -S '' -d display_open -a words_open
    (( $#words_final )) && compadd -U -V wclayer -d display_final -a words_final
    (( $#words_open + $#words_final ))
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = """\
function %(complete_func)s
    set -lx WCLAYER_WORDS (string join \\n -- (commandline -opc) | string collect)
    set -lx WCLAYER_WORD (commandline -ct)
    set -l answer (%(complete_var)s=fish_complete %(prog_name)s 2>/dev/null)
    if test "$answer[1]" = files
        __fish_complete_path (commandline -ct)
    else if set -q answer[2]
        printf '%%s\\n' $answer[2..-1]
    end
end
complete --command %(prog_name)s --no-files --keep-order --arguments '(%(complete_func)s)'
"""


class _Typed(NamedTuple):
    """What of a line was typed: the words before the one that is completed, and that one.

    Attributes:
        before: the words, without quotes.
        word: what the last one means so far.
        quote: the quote in which it ends; "" if it ends in none.
        after_redirection: whether it names a file of the shell.
    """

    before: list[str]
    word: str
    quote: str
    after_redirection: bool


def _unquoted(text: str) -> tuple[list[str], str, bool]:
    """Returns the words of a line, the quote in which the last one ends, and whether a space comes after that.

    A backslash before a letter or a digit stays: whoever types `C:\\Win` without quotes means it.
    """
    words: list[str] = []
    quote, is_inside = "", False
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if not quote and character in " \t\n":
            is_inside = False
            continue
        if not is_inside:
            words.append("")
            is_inside = True
        if character == quote or (not quote and character in "'\""):
            quote = "" if quote else character
        elif character == "\\" and quote != "'" and position < len(text):
            following = text[position]
            position += 1
            is_escape = following in '$`"\\' if quote else not following.isalnum()
            words[-1] += following if is_escape else character + following
        else:
            words[-1] += character
    return words, quote, not is_inside


def _typed(line: str) -> _Typed:
    words, quote, is_new = _unquoted(line)
    if is_new:
        words.append("")
    before: list[str] = []
    is_redirected = False
    for word in words[:-1]:
        # The operator, and the file after it, are no words of the command.
        if not is_redirected and not _REDIRECTION.fullmatch(word):
            before.append(word)
        is_redirected = not is_redirected and _REDIRECTION.fullmatch(word) is not None
    return _Typed(before, words[-1], quote, is_redirected)


class _Shell(ShellComplete):
    """What is the same for every shell."""

    typed: _Typed

    def read(self) -> _Typed:
        """Returns what was typed, from the variables that the script has set."""
        before = [_unquoted(word)[0] for word in os.environ[_WORDS].split("\n")]
        (word, quote, _) = _unquoted(os.environ[_WORD])
        return _Typed(["".join(each) for each in before], "".join(word), quote, False)

    def spelled(self, word: Word) -> str:
        """Returns the line of an answer for a word."""
        raise NotImplementedError

    def get_completion_args(self) -> tuple[list[str], str]:
        self.typed = self.read()
        return self.typed.before[1:], self.typed.word

    def complete(self) -> str:
        arguments, incomplete = self.get_completion_args()
        words = None if self.typed.after_redirection else self.words(arguments, incomplete)
        if words is None:
            return _FILES
        sendable = [word for word in words if not _SEPARATOR.search(word.text)]
        if words and not sendable:
            # The shell finds files with such names by itself.
            return _FILES
        lines = [self.spelled(word) for word in sendable]
        is_open = len(sendable) == 1 and not sendable[0].is_final
        return "\n".join([_OPEN if is_open else _ANSWER, *lines])

    def words(self, arguments: list[str], incomplete: str) -> list[Word] | None:
        """Returns what the last word may become; None for a file of the host."""
        found = self.get_completions(arguments, incomplete)
        if not found or found[0].type in ("file", "dir"):
            return None
        if found[0].type not in set(WordKind):
            return [Word(item.value, help=item.help or "") for item in found]
        (item,) = found
        # An option and its value in one word: click completes the value.
        option = incomplete.removesuffix(item.value)
        words = words_of(WordKind(item.type), item.context, item.value)
        return None if words is None else [word._replace(text=option + word.text) for word in words]


class _Bash(_Shell):
    """Bash puts an answer, as it is, in the place of what Readline takes for the word, which begins after an open quote
    or after the last colon outside quotes."""

    name = "bash"
    source_template = _BASH

    def read(self) -> _Typed:
        line = os.environ[_LINE]
        typed = _typed(line)
        region = os.environ.get(_REGION, "")
        self._is_quoted = not typed.quote and region[:1] in ("'", '"')
        kept = _typed(line.removesuffix(region)) if line.endswith(region) else typed
        # What of the word stays as it is.
        self._kept = len(kept.word) if len(kept.before) == len(typed.before) else 0
        return typed

    def spelled(self, word: Word) -> str:
        text = word.text[self._kept :]
        if self.typed.quote == "'":
            return text.replace("'", "'\\''")
        if self.typed.quote == '"':
            return re.sub(r'([\\"$`])', r"\\\1", text)
        if self._is_quoted:
            return "'" + text.replace("'", "'\\''") + "'"
        return "".join(each if _UNQUOTED.fullmatch(each) else f"\\{each}" for each in text)


class _Zsh(_Shell):
    """Zsh quotes an answer itself."""

    name = "zsh"
    source_template = _ZSH

    def spelled(self, word: Word) -> str:
        shown = word.display or (f"{word.text}  -- {word.help}" if word.help else word.text)
        return "\t".join((_ANSWER if word.is_final else _OPEN, word.text, " ".join(shown.split("\t"))))


class _Fish(_Shell):
    """Fish quotes an answer itself. It adds a space unless the answer ends with a slash."""

    name = "fish"
    source_template = _FISH

    def spelled(self, word: Word) -> str:
        text = word.text
        if not word.is_final and text.endswith("\\"):
            text = f"{text[:-1]}/"
        return f"{text}\t{' '.join(word.help.split())}" if word.help else text


_SHELLS = (_Bash, _Zsh, _Fish)


def script(command: click.Command, shell: str) -> str:
    """Returns the completion script of a shell: `bash`, `zsh` or `fish`."""
    return _of(command, shell).source()


def _of(command: click.Command, shell: str) -> _Shell:
    (kind,) = (kind for kind in _SHELLS if kind.name == shell)
    return kind(command, {}, "wclayer", COMPLETION_VARIABLE)


def answer(command: click.Command, instruction: str) -> None:
    """Answers the script of a shell on the standard output. Where that fails, nothing is printed: whoever presses a key
    has asked for no message.

    Args:
        command: the command whose words are completed.
        instruction: the value of `COMPLETION_VARIABLE`: the name of a shell, and what it asks for.
    """
    shell, _, what = instruction.partition("_")
    try:
        text = script(command, shell) if what == _SCRIPT else _of(command, shell).complete()
        data = text.encode("utf-8", "surrogateescape") + b"\n"
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except Exception:  # noqa: BLE001 (also a defect would spoil the line that is typed)
        return
