"""Densities, potentials and cases that the tests of the mean-field equation share."""

import numpy as np

from ipsdist.model.system import Grid

RADIUS = 0.05


def normal(x, mean, variance):
    return np.exp(-0.5 * (x - mean) ** 2 / variance) / np.sqrt(2.0 * np.pi * variance)


def cubic(r):
    return r**3


def power_law(r):
    """Potential of r - r**-1.5, the second part frozen below RADIUS."""
    frozen = r * RADIUS**-1.5
    beyond = RADIUS**-0.5 - 2.0 * (np.maximum(r, RADIUS) ** -0.5 - RADIUS**-0.5)
    return 0.5 * r * r - np.where(r < RADIUS, frozen, beyond)


def two_modes(x, first, second):
    return 0.5 * normal(x, *first) + 0.5 * normal(x, *second)


CASES = {
    "cubic": (Grid((-4.0,), (4.0,), (160,)), (1.0, 0.25), (-1.0, 0.25), cubic, 2.0),
    "power_law": (Grid((-7.0,), (7.0,), (280,)), (2.0, 0.25), (-3.0, 1.0), power_law, 0.02),
}


def mixture(law, x, y):
    """Initial laws of [S]'s case in the plane, not normalised; variance 0.25."""
    if law == "ring":
        return np.exp(-((np.hypot(x, y) - 1.0) ** 2) / 0.5)
    centres = {"two": [(1, 0), (-1, 0)], "four": [(1, 1), (1, -1), (-1, 1), (-1, -1)]}[law]
    return sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.5) for a, b in centres)
