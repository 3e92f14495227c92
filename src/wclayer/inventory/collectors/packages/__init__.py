"""Packages of programming languages: what package managers install, and what programs say they are made of."""
