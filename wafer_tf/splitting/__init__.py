"""Train, validation and test parts that share no lot and no near-copy."""
