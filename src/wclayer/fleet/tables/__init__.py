"""The tables of a fleet: what their columns mean, how rows are made, and the place where they are kept."""
