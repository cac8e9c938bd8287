"""Densities: deposits of positions, windows and bandwidths, and the mean-field equation."""
