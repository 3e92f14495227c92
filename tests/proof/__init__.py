"""Faults at every call, power cuts, kills, histories, hostile input and other hosts."""

import pytest

pytest.register_assert_rewrite("tests.proof.operations", "tests.proof.killing")
