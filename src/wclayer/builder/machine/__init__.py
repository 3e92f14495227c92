"""The machine that an image describes: its users' hives, its code pages, files of its registry."""
