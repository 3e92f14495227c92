"""What the layers of a chain take, and what of it is wasted."""
