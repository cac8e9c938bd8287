"""Rows of a benchmark in a file, one a run: a row that is there is not done again. Not a benchmark itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def load(file: Path) -> list[Row]:
    """Return the rows that are there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def arguments(text: str | None, names: Iterable[str], what: str, seeds: int = 20) -> argparse.ArgumentParser:
    """Return the options that resuming benchmarks have."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--only", nargs="*", choices=list(names), default=list(names), metavar=what)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--show", action="store_true", help="print the table of what is there")
    return parser


def complete(
    file: Path,
    keys: Sequence[str],
    wanted: Iterable[tuple[Any, ...]],
    one: Callable[..., Row],
    processes: int,
    say: Callable[[Row], str] | None = None,
) -> None:
    """Do the wanted rows that are missing, each as soon as a process is free; ``keys`` name them in a row."""
    file.parent.mkdir(exist_ok=True)
    done = {tuple(row[key] for key in keys) for row in load(file)}
    missing = [row for row in wanted if row not in done]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, file.open("a") as rows:
        futures = [pool.submit(one, *row) for row in missing]
        for count, future in enumerate(as_completed(futures), start=1):
            row = future.result()
            rows.write(json.dumps(row) + "\n")
            rows.flush()
            name = " ".join(str(row[key]) for key in keys)
            print(f"{count}/{len(missing)} {name} {say(row) if say else ''}".rstrip(), flush=True)
