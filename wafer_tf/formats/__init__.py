"""One module per file format, bytes to maps. Needs numpy and the standard library alone."""
