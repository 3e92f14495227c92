"""A page about a fleet: how old its images are, what they lack, what they share."""
