"""Figures of merit of a classified set, with intervals; costs of calls; operating points. Arrays in, values out."""
