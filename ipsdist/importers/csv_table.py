"""Track tables as CSV: blocks of lines parsed side by side, every refusal with the number of its row."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipsdist.importers.columns import Columns
from ipsdist.importers.parts import Part, make_part
from ipsdist.model.errors import InputError

__all__ = ["CsvTable", "WiderKindError", "open_csv"]

KINDS = ("int64", "double", "string")
"""What the particles may be, from the narrowest on."""

_BLOCK = 8 * 2**20
_THREADS = 4
_LINE_END = ord("\n")
_NULLS = ["", "NA", "N/A", "NaN", "nan", "-nan", "NAN", "null", "NULL", "None"]
_CUT = "the file is cut: copy it again, or end the last row with a line end if it is whole"


class WiderKindError(Exception):
    """The particles are of a wider kind than the first rows said: begin again with it."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True)
class CsvTable:
    """A CSV file whose header has been read."""

    path: Path
    names: tuple[str, ...]
    delimiter: str
    body: int
    """Bytes of text up to the end of the header."""

    def kind(self, column: int) -> str:
        """Return what the first rows say that a column of particles holds: a name of KINDS."""
        with _opened(self.path) as stream:
            block = stream.read(_BLOCK)[self.body :]
        for line in csv.reader(io.StringIO(_text(block)), delimiter=self.delimiter):
            if len(line) == len(self.names) and line[column].strip() not in _NULLS:
                return _kind_of(line[column])
        return "double"

    def parts(self, columns: Columns, kind: str) -> Iterator[Part]:
        """Yield the rows in order. Raises InputError with the row that cannot be read; WiderKindError."""
        row, reader = 0, _Reader(self, columns, kind)
        threads = min(_THREADS, os.cpu_count() or 1)
        pool, queue = ThreadPoolExecutor(threads), deque[tuple[memoryview, Future[Part | Exception]]]()
        try:
            for block in self._blocks(threads + 2):
                queue.append((block, pool.submit(reader.part, block)))
                if len(queue) > threads:
                    part = reader.checked(*queue.popleft(), row)
                    row += len(part.rows)
                    yield part
            while queue:
                part = reader.checked(*queue.popleft(), row)
                row += len(part.rows)
                yield part
        finally:
            pool.shutdown(cancel_futures=True)

    def _blocks(self, buffers: int) -> Iterator[memoryview]:
        """Yield whole lines, about 8 MB a block; the last may lack its end. A block lasts for ``buffers`` blocks."""
        ring = [bytearray(_BLOCK) for _ in range(buffers)]
        with _opened(self.path) as stream:
            stream.read(self.body)
            number = kept = 0
            while True:
                buffer = ring[number % buffers]
                read = _fill(stream, memoryview(buffer)[kept:])
                stop = kept + read
                cut = buffer.rfind(b"\n", 0, stop) + 1 if read else stop
                if not read and not buffer[:cut].strip():
                    return
                if not cut and stop < len(buffer):
                    kept = stop  # a last line without an end: the next read says so
                    continue
                if not cut:
                    got = f"no line end in {stop} bytes of {self.path}"
                    raise InputError("SOURCE", "must be a table of lines", got, "check the file")
                kept, number = stop - cut, number + 1
                ring[number % buffers][:kept] = buffer[cut:stop]
                yield memoryview(buffer)[:cut]
                if not read:
                    return


@dataclass(frozen=True)
class _Reader:
    """Parses the blocks of one table."""

    table: CsvTable
    columns: Columns
    kind: str

    def part(self, block: memoryview) -> Part | Exception:
        """Parse one block; what cannot be parsed is returned as the exception, to be looked at in order."""
        import pyarrow as pa
        from pyarrow import csv as arrow

        if block[-1] != _LINE_END:
            return InputError("SOURCE", "must end with a whole row")
        places = self.columns.used
        types = {f"c{place}": pa.float64() for place in places}
        if self.columns.particle is not None:
            types[f"c{self.columns.particle}"] = getattr(pa, "float64" if self.kind == "double" else self.kind)()
        try:
            table = arrow.read_csv(
                pa.BufferReader(pa.py_buffer(block)),
                arrow.ReadOptions(
                    use_threads=False,
                    block_size=len(block) + 1,
                    column_names=[f"c{k}" for k in range(len(self.table.names))],
                ),
                arrow.ParseOptions(delimiter=self.table.delimiter),
                arrow.ConvertOptions(
                    column_types=types,
                    include_columns=[f"c{place}" for place in places],
                    null_values=_NULLS,
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid as error:
            return ValueError(str(error))
        found = dict(zip(places, (_one(column) for column in table.columns), strict=True))
        who = None if self.columns.particle is None else found[self.columns.particle]
        return make_part(found[self.columns.time], who, [found[place] for place in self.columns.position])

    def checked(self, block: memoryview, result: Future[Part | Exception], row: int) -> Part:
        """Return the part of a block, or say what is wrong with it; ``row`` rows came before."""
        part = result.result()
        if isinstance(part, Part):
            return part
        self._explain(block, row)
        raise InputError("SOURCE", "must be a CSV table", f"{part} in {self.table.path}", "check the file")

    def _explain(self, block: memoryview, row: int) -> None:
        """Find the first row that cannot be read and refuse it."""
        width, cut = len(self.table.names), block[-1] != _LINE_END
        lines = [line for line in csv.reader(io.StringIO(_text(bytes(block))), delimiter=self.table.delimiter) if line]
        for number, line in enumerate(lines, start=row + 1):
            if cut and number == row + len(lines):
                got = f"row {number} with {len(line)} of {width} fields and no line end"
                raise InputError("SOURCE", "must not end in mid-row", got, _CUT)
            if len(line) != width:
                rule = f"must have the {width} fields of its header in every row"
                raise InputError("SOURCE", rule, f"{len(line)} in row {number}", "mend or remove that row")
            self._check_fields(line, number)

    def _check_fields(self, line: list[str], number: int) -> None:
        for place in self.columns.used:
            text = line[place].strip()
            if text in _NULLS:
                continue
            kind = _kind_of(text)
            if place == self.columns.particle:
                if KINDS.index(kind) > KINDS.index(self.kind):
                    raise WiderKindError(kind)
            elif kind == "string":
                got = f"{text[:40]!r} in row {number}, column {self.columns.name(place)}"
                raise InputError("SOURCE", "must hold numbers as times and positions", got, "mend or remove that row")


def open_csv(path: Path) -> CsvTable:
    """Read the header of a CSV file (plain, gzip, bz2 or zstd). Raises InputError when there is none."""
    with _opened(path) as stream:
        start = stream.read(_BLOCK)
    begin = len(start) - len(start.lstrip(b"\r\n"))
    end = start.find(b"\n", begin)
    if end < 0:
        what = "one line without an end" if start.strip() else "nothing"
        raise InputError("SOURCE", "must hold a header and rows", f"{what} in {path}", _CUT)
    line = _text(start[begin:end]).rstrip("\r")
    delimiter = max(",;\t", key=line.count)
    names = tuple(name.strip() for name in next(csv.reader([line], delimiter=delimiter)))
    if all(_kind_of(name) != "string" for name in names):
        fix = "add a first line such as particle,time,x,y"
        raise InputError("SOURCE", "must begin with a line of column names", repr(line[:60]), fix)
    return CsvTable(path, names, delimiter, end + 1)


def _kind_of(text: str) -> str:
    if "_" not in text:  # which Python allows in numbers, and a table means as a name
        with contextlib.suppress(ValueError):
            return "int64" if -(2**63) <= int(text) < 2**63 else "double"
        with contextlib.suppress(ValueError):
            float(text)
            return "double"
    return "string"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow as pa

    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            yield stream
    except OSError as error:
        raise InputError("SOURCE", "must be a file that can be read", f"{path}: {error}", "check the path") from None


def _fill(stream: Any, buffer: memoryview) -> int:
    """Read until the buffer is full or the stream ends; return the number of bytes."""
    done = 0
    while done < len(buffer) and (read := stream.readinto(buffer[done:])):
        done += read
    return done


def _text(block: bytes) -> str:
    try:
        return block.decode("utf-8-sig")
    except UnicodeDecodeError:
        return block.decode("cp1252", errors="replace")


def _one(column: Any) -> Any:
    # A table of one block has one chunk; an empty one may have none.
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
