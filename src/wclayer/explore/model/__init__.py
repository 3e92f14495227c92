"""What the explorer shows, without anything that draws: usable and tested without Textual."""
