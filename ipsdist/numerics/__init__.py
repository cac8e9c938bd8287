"""The numerics of the words: particles, densities, equations, and the device code under them."""
