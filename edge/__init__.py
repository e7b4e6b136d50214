"""From a trained run to an inspection station: quantize and gate it, then classify without TensorFlow."""
