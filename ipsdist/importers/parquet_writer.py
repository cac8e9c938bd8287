"""A small table written as Parquet; it needs the extra ``tables``."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["to_parquet"]


def to_parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes | None:
    """Return a table of rows as a Parquet file, or None where pyarrow is not installed.

    A column of numbers, booleans or texts keeps its kind; one of several kinds becomes texts (JSON).
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return None
    arrays = {name: _column([row.get(name) for row in rows], pa) for name in columns}
    buffer = io.BytesIO()
    parquet.write_table(pa.table(arrays), buffer)
    return buffer.getvalue()


def _column(values: Sequence[Any], pa: Any) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pa.array(values, pa.bool_())
    if kinds <= {int} and all(v is None or abs(v) < 2**63 for v in values):
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pa.array(texts, pa.string())
