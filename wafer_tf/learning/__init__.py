"""Keras models, their input pipeline, and the folder of one training run."""
