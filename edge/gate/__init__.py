"""Is the int8 model as good as the float one? Only then it becomes a bundle."""
