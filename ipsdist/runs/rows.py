"""What result.json and pooled.json write alike: terms with their errors, runners-up, versions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ipsdist.model.fit import Fit

__all__ = ["alternative_rows", "term_rows", "versions"]

_NORMAL95 = 1.959963984540054
"""Half the width of a 95 % interval in standard errors."""


def term_rows(fit: Fit, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Return the kept terms with their 95 % intervals; ``kinds`` (M,) are those of all columns of the fit."""
    rows = zip(fit.terms, fit.coefficients, fit.standard_errors, strict=True)
    return [
        {
            "name": fit.basis[k],
            "kind": kinds[k],
            "coefficient": float(z),
            "standard_error": float(error),
            "interval95": [float(z - _NORMAL95 * error), float(z + _NORMAL95 * error)],
        }
        for k, z, error in rows
    ]


def alternative_rows(fit: Fit) -> list[dict[str, Any]]:
    """Return the runners-up by the names of their terms, best first."""
    return [
        {
            "terms": [fit.basis[k] for k in other.terms],
            "coefficients": list(other.coefficients),
            "score_difference": other.score,
        }
        for other in fit.alternatives
    ]


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed (a source tree on the path has none)."""
    known = {name: text for name in packages if (text := _installed(name)) is not None}
    return {"python": platform.python_version(), **known}


@lru_cache
def _installed(package: str) -> str | None:
    """Return the version of a package; it is looked up on the disk, which a study of many runs would do many times."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
