"""Builds images for Windows: Dockerfiles, RUN lines whose effect is known, rebase and squash."""
