"""The hostile corpus: small forms of every attack on wclayer that is known, and of what is like them.

Each form is made by a small function in the module of its kind and registered with what it attacks and how the first
command that reads it ends. `python -m tests.hostile FOLDER` writes all of them, with a manifest; `tests/proof/hostile`
runs every command over them. Nothing here is data of others.
"""
