"""What differs between two images, and how it is told: records, a summary, a page."""
