"""Known vulnerabilities: an image compared with the advisories of the Microsoft Security Response Center."""
