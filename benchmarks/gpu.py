"""One GPU: are its bits those of the CPU, how fast is it, and does compute-sanitizer find anything. One table last.

    python benchmarks/gpu.py [--json FILE] [--part NAME ...] [--minutes M]
    python benchmarks/gpu.py --rehearse

Needs numpy, scipy, numba and cupy, no network, neither dask nor zarr (a whole run alone needs them). Every part is a
process of its own with a limit of time, so that none stops the others. Without a GPU it says so and exits with 2;
--rehearse then goes through all parts on the host, with few particles: what it prints are no measurements. Exits with 1
where bits differ, a bar is missed or something failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_NO_DEVICE = 2


@dataclass(frozen=True)
class Part:
    """What runs at the same time, as a process each, and the seconds it may take."""

    name: str
    about: str
    tasks: tuple[str, ...]
    seconds: float


PARTS = (
    Part("card", "which card, what it copies", ("card",), 40),
    Part("bits", "every kernel against its Numba twin", ("bits1", "bits2", "bits3", "clouds", "leaps", "sums"), 120),
    Part("speed", "particle-steps a second", ("speed",), 75),
    Part("small", "20 000 particles, alone and as 100 replicas", ("small",), 20),
    Part("pairs", "exact pair sums", ("pairs",), 30),
    Part("learning", "densities and equations", ("learning",), 40),
    Part("ring", "sums over the cards of a gang by NCCL", ("ring",), 40),
    Part("two", "two processes on one card, each with half of its memory", ("half0", "half1"), 40),
    Part("sanitizer", "compute-sanitizer memcheck and racecheck", ("memcheck", "racecheck"), 90),
    Part("run", "ipsdist run cubic with 1e9 particles", ("run",), 240),
    Part("grids", "which grid is best for a step", ("grids",), 40),
)


def perform(task: str, bench: Any) -> None:
    """Do a task in this process. Imports are here: a part must not fail for what another needs."""
    if task == "card":
        from _gpu_card import describe

        describe(bench)
    elif task.startswith("bits"):
        from _gpu_bits import check

        check(bench, int(task[-1]))
    elif task == "clouds":
        from _gpu_clouds import check as check_clouds

        check_clouds(bench)
    elif task in ("leaps", "small"):
        import _gpu_small

        {"leaps": _gpu_small.check, "small": _gpu_small.measure}[task](bench)
    elif task in ("sums", "pairs"):
        import _gpu_pairs

        {"sums": _gpu_pairs.check, "pairs": _gpu_pairs.measure}[task](bench)
    elif task in ("speed", "grids"):
        import _gpu_speed

        {"speed": _gpu_speed.measure, "grids": _gpu_speed.grids}[task](bench)
    elif task == "learning":
        from _gpu_learning import measure

        measure(bench)
    elif task == "ring":
        from _gpu_ring import add

        add(bench)
    elif task.startswith("half"):
        from _gpu_two import half

        half(bench, int(task[-1]))
    elif task == "run":
        from _gpu_run import run

        run(bench)
    else:
        from _gpu_run import sanitize

        sanitize(bench, task, [sys.executable, __file__])


def child(task: str, arguments: argparse.Namespace) -> int:
    """Do a task, its rows into a file, and return what the process exits with."""
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    from _gpu_bench import Bench, without_pool

    from ipsdist.arrays import NoDeviceError

    name = next((p.name for p in PARTS if task in p.tasks), task)
    sink = Path(arguments.rows)
    copied = None
    with contextlib.suppress(OSError, ValueError):
        copied = float((sink.parent / "copied").read_text())
    bench = Bench(name, arguments.rehearse, arguments.tiny, arguments.seconds, sink, copied)
    try:
        if task == "all-bits":  # what a sanitizer looks at: one process, one device, no pool
            without_pool(bench.device)
            every = next(p.tasks for p in PARTS if p.name == "bits")
            for one in every[:1] if bench.rehearse else every:
                with bench.case(one):
                    perform(one, bench)
            return int(any(row.state == "FAILED" for row in bench.rows))
        with bench.case(task):
            try:
                perform(task, bench)
            except NoDeviceError as error:
                print(error, file=sys.stderr)
                return _NO_DEVICE
    finally:
        if bench.copied:
            (sink.parent / "copied").write_text(repr(bench.copied))
    return 0


class Process:
    """A task in a process of its own, which is ended with all that it started when its time is out."""

    def __init__(self, part: Part, task: str, seconds: float, folder: Path, flags: list[str]) -> None:
        self.part, self.task, self.seconds = part, task, seconds
        self._rows, self._errors = folder / f"{task}.jsonl", folder / f"{task}.txt"
        words = [sys.executable, __file__, "--child", task, "--rows", str(self._rows), "--seconds", str(seconds)]
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*words, *flags], stdout=subprocess.DEVNULL, stderr=errors, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self._start, self._stopped = time.monotonic(), False

    def result(self) -> tuple[list[dict[str, Any]], int]:
        """Wait for it; return its rows, and what it exited with."""
        from _gpu_bench import FAILED

        grace = 10.0  # a part minds its time between two cases
        try:
            code = self._process.wait(max(0.1, self._start + self.seconds + grace - time.monotonic()))
        except subprocess.TimeoutExpired:
            code = None
        self.stop()
        rows = []
        for line in self._rows.read_text(errors="replace").splitlines() if self._rows.exists() else ():
            with contextlib.suppress(ValueError):  # of one that was stopped, the last line may be cut off
                rows.append(json.loads(line))
        if code not in (0, _NO_DEVICE):
            last = self.said().splitlines()[-1:]
            why = f"stopped after {self.seconds + grace:.0f} s" if code is None else f"exited with {code}"
            rows.append(row(self.part.name, self.task, FAILED, " ".join([why, *last])[:300]))
        return rows, code if code is not None else -1

    def stop(self) -> None:
        """End it, and all that it had started."""
        if not self._stopped:
            self._stopped = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def said(self) -> str:
        """Return what it wrote to stderr."""
        return self._errors.read_text(errors="replace").strip()


def row(part: str, what: str, state: str, note: str) -> dict[str, Any]:
    from _gpu_bench import Row

    return asdict(Row(part, what, state=state, note=note))


def together(parts: list[Part], flags: list[str], minutes: float, write: Any) -> list[dict[str, Any]]:
    """Do the parts one after the other, the tasks of a part at the same time; return all rows.

    A rehearsal measures nothing, so there all parts but the first are done at the same time.
    """
    from _gpu_bench import LEFT_OUT

    end = time.monotonic() + 60 * minutes
    rehearsal = "--rehearse" in flags
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="ipsdist-gpu-") as name, contextlib.ExitStack() as stack:
        for group in [parts[:1], parts[1:]] if rehearsal else [[part] for part in parts]:
            started, processes = time.monotonic(), []
            for part in group:
                seconds = min(end - started - 12, part.seconds * (1 + rehearsal))
                if seconds < 8:
                    rows.append(row(part.name, part.about, LEFT_OUT, f"the {minutes:g} minutes were over"))
                    continue
                for task in part.tasks:
                    processes.append(Process(part, task, seconds, Path(name), flags))
                    stack.callback(processes[-1].stop)
            for process in processes:
                found, code = process.result()
                if code == _NO_DEVICE and group[0] is parts[0]:
                    print(f"no GPU to measure: {process.said()} (--rehearse goes through all parts without one)")
                    raise SystemExit(_NO_DEVICE)
                rows += found
            names = ", ".join(part.name for part in group)
            print(f"{names}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            write(rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT / "benchmarks" / "results" / "gpu.json"
    parser.add_argument("--json", metavar="FILE", help="write the rows there (default benchmarks/results/gpu.json)")
    parser.add_argument(
        "--part", action="append", choices=[p.name for p in PARTS], help="only this one; may be repeated"
    )
    parser.add_argument("--tiny", action="store_true", help="few particles: for sanitizers, no measurements")
    parser.add_argument("--rehearse", action="store_true", help="everything on the host, with few particles")
    parser.add_argument("--minutes", type=float, default=7.5, help="time for all parts together")
    for hidden, kind in (("child", str), ("rows", str), ("seconds", float)):
        parser.add_argument(f"--{hidden}", type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        raise SystemExit(child(arguments.child, arguments))
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    from _gpu_bench import BELOW, FAILED, Row, shortened, table

    chosen = [p for p in PARTS if p.name == "card" or not arguments.part or p.name in arguments.part]
    flags = ["--tiny"] * arguments.tiny + ["--rehearse"] * arguments.rehearse
    file = Path(arguments.json) if arguments.json else None if arguments.rehearse else default

    def write(rows: list[dict[str, Any]]) -> None:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"rehearsal": arguments.rehearse, "rows": rows}, indent=1) + "\n")

    rows = together(chosen, flags, arguments.minutes, write)
    write(rows)
    print(table(shortened([Row(**r) for r in rows])))
    if arguments.rehearse:
        print("rehearsal on the host with few particles: no figure above is a measurement", file=sys.stderr)
    raise SystemExit(int(any(r["state"] in (FAILED, BELOW) for r in rows)))


if __name__ == "__main__":
    main()
