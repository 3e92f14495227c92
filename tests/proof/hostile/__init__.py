"""Every command over every form of the hostile corpus, each in a process of its own with bounds, beside canaries."""
