"""The tar format: ustar and PAX headers, read leniently, written as Go's `archive/tar` writes PAX."""
