"""Write the example files anew: `.venv/bin/python docs/examples/make_examples.py`.

The same three synthetic wafers in every format that is read. No fab has seen them.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from wafer_tf import WaferSet, synthesize
from wafer_tf.readers import write_parquet

HERE = Path(__file__).parent
SEED, PER_CLASS = 5, 40
CHOSEN = (132, 281, 337)
"""An Edge-Ring, a Scratch and a none: small ones, of the maps drawn with this seed."""


def main() -> None:
    """Write every file of the folder but this one and the README."""
    drawn = synthesize(PER_CLASS, seed=SEED).wafers.select(CHOSEN)
    wafers = WaferSet.from_maps(
        [wafer.map for wafer in drawn], label=drawn.label, lot=["L7"] * len(drawn), wafer_index=[1, 2, 3]
    )
    scratch = wafers[1].map
    np.save(HERE / "one_wafer.npy", scratch)
    np.savez_compressed(HERE / "one_wafer.npz", scratch)
    np.savetxt(HERE / "one_wafer.csv", scratch, fmt="%d", delimiter=",")
    np.savetxt(HERE / "one_wafer.txt", scratch, fmt="%d", delimiter=" ")
    np.savez_compressed(
        HERE / "three_wafers.npz",
        flat=wafers.flat,
        offsets=wafers.offsets,
        shapes=wafers.shapes,
        lot=wafers.lot,
        wafer_index=wafers.wafer_index,
        label=np.array([wafer.label for wafer in wafers]),
    )
    write_parquet(wafers, HERE / "three_wafers.parquet", overwrite=True)
    as_lswmd(wafers).to_pickle(HERE / "three_wafers.pkl")
    folder = HERE / "three_wafers"
    shutil.rmtree(folder, ignore_errors=True)
    for wafer in wafers:
        (folder / str(wafer.label)).mkdir(parents=True)
        np.savetxt(folder / str(wafer.label) / f"wafer_{wafer.index}.csv", wafer.map, fmt="%d", delimiter=",")
    mix = {"Center": 20, "Donut": 5, "Edge-Loc": 40, "Edge-Ring": 30, "Loc": 20, "Near-full": 1, "Random": 4}
    (HERE / "fab_mix.json").write_text(json.dumps({**mix, "Scratch": 10, "none": 870}, indent=2) + "\n")


def as_lswmd(wafers: WaferSet) -> pd.DataFrame:
    """Return the table that the public LSWMD.pkl holds: labels are nested arrays, counts are floats."""
    table = pd.DataFrame(
        {
            "waferMap": [wafer.map for wafer in wafers],
            "dieSize": [float((wafer.map > 0).sum()) for wafer in wafers],
            "lotName": [wafer.lot for wafer in wafers],
            "waferIndex": [float(wafer.index) for wafer in wafers],
        }
    )
    table["trianTestLabel"] = [np.array([["Training"]]) for _ in wafers]  # sic
    table["failureType"] = [np.array([[wafer.label]]) for wafer in wafers]
    return table


if __name__ == "__main__":
    main()
