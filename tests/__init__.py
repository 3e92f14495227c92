"""The test suite; one folder for each folder of the package."""
