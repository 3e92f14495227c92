"""Accounts and descriptors that a user states, and changes of DACLs."""
