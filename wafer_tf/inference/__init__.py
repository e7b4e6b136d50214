"""Run a bundle's int8 model. Needs numpy and ai-edge-litert alone."""
