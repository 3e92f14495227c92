"""What an image holds: operating system, updates, programs, packages, files, and what is known of them."""
