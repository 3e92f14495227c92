"""Coverage-guided fuzzing: bytes go into every parser and into whole operations, and nothing may be raised but what bad
bytes are documented to raise.

    python -m fuzz --list
    python -m fuzz hive ntfs --seconds 60       searches; finds are written to .fuzz/TARGET/finds
    python -m fuzz --all --seconds 120          all targets share the time: a stage of CI
    python -m fuzz --all --hours 2              the long run
    python -m fuzz hive FILE…                   runs a target on those files
    python -m fuzz --all --replay               runs the targets on the corpus and the finds in the repository
    python -m fuzz --all --minimise             fuzz/corpus becomes the smallest inputs that reach all that is reached
    python -m fuzz --all --coverage             the lines of each module that the corpus reaches

Searching and minimising need the extra `fuzz` (atheris); replaying does not.

`targets/` says what is run, `search` finds new inputs, `corpus` keeps them, `bounds` holds each input to its time and
memory.
"""
