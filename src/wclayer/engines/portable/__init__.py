"""The engine that is this project, on any operating system, and functions that Windows does not have.

`engine` has the functions of `Engine` together; a program that needs one of them loads its module alone.
"""
