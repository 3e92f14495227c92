"""The tar format: a lenient reader of ustar and PAX headers, and a writer of PAX like Go's `archive/tar`."""
