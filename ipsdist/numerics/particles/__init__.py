"""Particles: noise, initial positions, forces, steps."""
