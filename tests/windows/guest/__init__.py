"""The tests that run in the Windows Python."""
