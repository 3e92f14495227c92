"""Other hosts: those that lack calls of Linux, and other file systems."""

# First of all: what is taken away is gone before the package is imported.
from tests.proof.hosts import taken_away as taken_away
