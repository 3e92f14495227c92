"""An inventory as a software bill of materials."""
