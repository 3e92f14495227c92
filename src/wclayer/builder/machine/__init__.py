"""The machine that an image describes: its environment, its users' hives, its code pages."""
