"""Judging whole sets: records as columns, and the parts that a killed command goes on from."""
