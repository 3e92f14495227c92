"""The Dockerfile language with the rules of Windows: lines, words, instructions, and which files of a context count."""
