"""A layer on top of an image without a Dockerfile."""
