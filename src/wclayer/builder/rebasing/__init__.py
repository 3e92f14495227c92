"""The own layers of an image: where its base ends, and how they come onto another one."""
