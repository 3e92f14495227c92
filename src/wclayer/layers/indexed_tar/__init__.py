"""A layer's tar whose files are read in place, after its headers were read once."""
