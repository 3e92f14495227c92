"""Mutators that know a format: they change an input inside its structures, and mend the checksums, so that a change
gets past the first check.

Each has the form that `Target.mutator` wants: the input, a source of random numbers, and the most bytes that the result
may have.
"""
