"""From a float Keras model to .tflite files of integers, and what such a file holds."""
