"""Make format1.zarr, the store of format 1 that every later version must read: `python -m tests.data.make_format1`."""

from pathlib import Path

import numpy as np

from ipsdist.storage import FORMAT, Store

PATH = Path(__file__).with_name("format1.zarr")


def main() -> None:
    if FORMAT != 1:
        raise SystemExit(f"this program writes format {FORMAT}; format1.zarr stays as it is")
    store = Store.create(PATH, {"case": "fixture"})
    store.write("densities/times", np.arange(3) / 8, ("time",), "time")
    store.write("densities/u", np.arange(12.0).reshape(3, 4) / 7, ("time", "x"), "1/length", {"window": "gaussian"})
    store.commit("densities/0", {"slices": 3})
    store.create_array(
        "particles/positions", (4, 2), "float32", ("particle", "space"), (2, 2), "length", compress=False
    )
    store.write_region("particles/positions", 0, np.float32([[1, 2], [3, 4]]))
    store.write("particles/count", np.arange(-2, 3), ("node",), "1/65536")


if __name__ == "__main__":
    main()
