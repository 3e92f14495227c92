"""Tests of the search, which need atheris: CI runs them before it searches."""
