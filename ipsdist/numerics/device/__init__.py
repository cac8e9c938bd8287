"""Device code: the Numba functions behind particles and deposits."""
