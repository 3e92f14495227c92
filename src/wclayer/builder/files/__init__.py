"""What COPY and ADD do: files of a context, of an image and of an archive come into a view."""
