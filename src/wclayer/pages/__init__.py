"""What the pages for a browser share: their frame, their style, and the two ways by which text gets into them."""
