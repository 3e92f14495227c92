"""The explorer of images on a terminal: `model/` says what is shown, `widgets/` shows it."""
