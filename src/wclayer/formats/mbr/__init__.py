"""Master boot records: the partition tables from before GUID ones, read."""
