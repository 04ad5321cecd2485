"""One paper, one file, to be read from top to bottom with the paper beside it."""
