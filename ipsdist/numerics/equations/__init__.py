"""Equations: the dictionary paired with the particles, and the time rules that join slices to panels."""
