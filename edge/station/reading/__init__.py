"""Files are read in a process of their own, so that one that ends its reader costs one record."""
