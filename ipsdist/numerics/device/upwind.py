"""What crosses the faces of one axis with a velocity, from positive linear reconstructions, in Numba."""

from __future__ import annotations

from numba import njit

__all__ = ["move_upwind"]


@njit(cache=True)
def move_upwind(u, xi, inverse, change, loss):  # type: ignore[no-untyped-def]
    """Add the fluxes of the middle axis to ``change``, and the share that a cell gives away a time to ``loss``.

    All arrays are (before, n, after), u not negative. The velocity at a face is minus the difference of ``xi`` times
    ``inverse``, 1 / spacing; nothing crosses the walls.
    """
    before, n, after = u.shape
    for a in range(before):
        for j in range(n - 1):
            for b in range(after):
                rate = (xi[a, j, b] - xi[a, j + 1, b]) * inverse * inverse
                if rate > 0.0:
                    here = u[a, j, b]
                    outer = u[a, j - 1, b] if j > 0 else here - (u[a, j + 1, b] - here)
                    moved = _at_face(outer, here, u[a, j + 1, b]) * rate
                    change[a, j, b] -= moved
                    change[a, j + 1, b] += moved
                    if here > 0.0:
                        loss[a, j, b] += moved / here
                elif rate < 0.0:
                    here = u[a, j + 1, b]
                    outer = u[a, j + 2, b] if j + 2 < n else here - (u[a, j, b] - here)
                    moved = _at_face(outer, here, u[a, j, b]) * -rate
                    change[a, j + 1, b] -= moved
                    change[a, j, b] += moved
                    if here > 0.0:
                        loss[a, j + 1, b] += moved / here


@njit(cache=True)
def _at_face(outer, here, inner):  # type: ignore[no-untyped-def]
    """Return the value of a cell's reconstruction at its face towards the cell ``inner``; from 0 to twice ``here``.

    Half the centred slope, unless one of the cell's two face values were negative; then the generalised minmod of the
    centred slope and twice the one-sided ones. At a wall ``outer`` continues the slope, and only the size is bound.
    """
    half = 0.25 * (inner - outer)
    if abs(half) > here:
        up, down = inner - here, here - outer
        if up > 0.0 and down > 0.0:
            half = min(half, min(up, down))
        elif up < 0.0 and down < 0.0:
            half = max(half, max(up, down))
        else:
            half = 0.0
        half = min(max(half, -here), here)
    return here + half
