"""Track tables as Parquet: batches of the columns that are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipsdist.importers.columns import Columns
from ipsdist.importers.parts import Part, make_part
from ipsdist.model.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetTable", "open_parquet"]

_BATCH = 2**18


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file whose schema has been read."""

    path: Path
    names: tuple[str, ...]
    schema: Any

    def kind(self, column: int) -> str:
        """Return what a column of particles holds: "int64", "double" or "string". Raises InputError for other types."""
        import pyarrow as pa

        kind = self.schema.field(column).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return "string"
        if pa.types.is_integer(kind):
            return "int64"
        if pa.types.is_floating(kind):
            return "double"
        rule = "must hold whole numbers, numbers or texts as particles"
        raise InputError("--particle", rule, f"{kind} in column {self.names[column]}", "name another column")

    def parts(self, columns: Columns, kind: str) -> Iterator[Part]:
        """Yield the rows in order. Raises InputError for columns of other types and damaged files."""
        import pyarrow as pa
        from pyarrow import parquet

        self._check(columns)
        wanted = [self.names[place] for place in columns.used]
        to = {"int64": pa.int64(), "double": pa.float64(), "string": pa.string()}[kind]
        try:
            with parquet.ParquetFile(self.path, pre_buffer=False) as file:
                for batch in file.iter_batches(_BATCH, columns=wanted, use_threads=True):
                    who = None
                    if columns.particle is not None:
                        who = batch.column(self.names[columns.particle]).cast(to)
                    when, *where = (
                        batch.column(self.names[place]).cast(pa.float64(), safe=False)
                        for place in (columns.time, *columns.position)
                    )
                    yield make_part(when, who, where)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path, error) from None

    def _check(self, columns: Columns) -> None:
        import pyarrow as pa

        for place in (columns.time, *columns.position):
            kind: pa.DataType = self.schema.field(place).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
                rule = "must hold numbers as times and positions"
                fix = "convert it to numbers of one unit, such as seconds"
                raise InputError("SOURCE", rule, f"{kind} in column {self.names[place]}", fix)


def open_parquet(path: Path) -> ParquetTable:
    """Read the schema of a Parquet file. Raises InputError for what is none."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    return ParquetTable(path, tuple(schema.names), schema)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError("SOURCE", "must be a whole Parquet file", f"{path}: {error}", "the file is cut: copy it again")
