"""A page about an image: what it is, how old it is, what it holds, who can write it, what it wastes."""
