"""What goes onto an inspection station: numpy, ai-edge-litert and the standard library alone."""
