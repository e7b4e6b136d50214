"""Time the near-copy search and the split at the size of all labelled WM-811K maps (172,950).

    python -m benchmarks.near_copies ../shared/data/wm811k/wm811k_dev.npz --out benchmarks/near_copies.json

The stand-in: lots of 8 to 25 wafers, each lot on the grid of a map drawn from the real set (so that the commonest grid
holds about 9 % of the maps, as there). 85 % of the maps are `none`, failing dies strewn, more densely at the edge; 14 %
are real maps with 10 to 20 % of their dies changed in state, under a random symmetry; 1 % are planted copies of earlier
maps, turned or mirrored, with two dies changed. The result is in near_copies.json.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wafer_tf.command import CommandParser
from wafer_tf.dies import NONE, Die
from wafer_tf.readers import read
from wafer_tf.splitting.near_copies import MAX_DISTANCE, SHAPE_KEEPING, find_near_copies
from wafer_tf.splitting.splits import make_split
from wafer_tf.waferset import WaferSet


def stand_in(real: WaferSet, n: int, rng: np.random.Generator) -> tuple[WaferSet, NDArray[np.int64]]:
    """Return a set of n maps after `real`, and the (k, 2) indices of each planted copy and its original."""
    maps: list[NDArray[np.uint8]] = []
    label, lot, planted = [], [], []
    of_shape: dict[tuple[int, ...], list[int]] = {}
    while len(maps) < n:
        base = real.map(int(rng.integers(len(real))))
        same_grid = np.flatnonzero((real.shapes == base.shape).all(axis=1))
        name = f"lot{len(lot)}"
        for _ in range(min(int(rng.integers(8, 26)), n - len(maps))):
            known = of_shape.setdefault(base.shape, [])
            if known and rng.random() < 0.01:
                original = known[int(rng.integers(len(known)))]
                planted.append((original, len(maps)))
                grid, of_class = _change(_turn(maps[original], rng), 2, rng), label[original]
            elif rng.random() < 0.85:
                grid, of_class = _strew(base, rng), NONE
            else:
                i = int(rng.choice(same_grid))
                rate = rng.uniform(0.10, 0.20)
                grid, of_class = (
                    _change(_turn(real.map(i), rng), round(rate * np.count_nonzero(base)), rng),
                    int(real.label[i]),
                )
            known.append(len(maps))
            maps.append(grid)
            label.append(of_class)
            lot.append(name)
    return WaferSet.from_maps(maps, label=label, lot=lot), np.array(planted)


def _turn(grid: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return np.ascontiguousarray(SHAPE_KEEPING[int(rng.integers(4))](grid))


def _change(grid: NDArray[np.uint8], dies: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    grid = grid.copy()
    at = rng.choice(np.flatnonzero(grid), min(dies, np.count_nonzero(grid)), replace=False)
    grid.flat[at] = Die.PASS + Die.FAIL - grid.flat[at]
    return grid


def _strew(grid: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    rows, cols = (np.linspace(-1, 1, side) for side in grid.shape)
    odds = min(rng.lognormal(np.log(0.06), 0.6), 0.25) * (0.6 + np.hypot(rows[:, None], cols) ** 2)
    return np.where(grid == Die.ABSENT, Die.ABSENT, Die.PASS + (rng.random(grid.shape) < odds)).astype(np.uint8)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = CommandParser("python -m benchmarks.near_copies", __doc__)
    parser.add_argument("data", type=Path, help="real maps the stand-in is drawn from")
    parser.add_argument("--maps", type=int, default=172_950)
    parser.add_argument("--out", type=Path, help="write the result there as JSON too")
    args = parser.parse_args()
    real = read(args.data)
    wafers, planted = stand_in(real, args.maps, np.random.default_rng(0))
    _, of_shape = np.unique(np.sort(wafers.shapes, axis=1), axis=0, return_counts=True)
    result = {"maps": len(wafers), "cores": os.cpu_count(), "max_distance": MAX_DISTANCE, "shapes": len(of_shape)}
    result |= {"largest_shape": int(of_shape.max()), "set_mb": round(wafers.flat.nbytes / 2**20)}
    result["peak_mb_before"] = round(_peak_mb())
    start, cpu = time.perf_counter(), time.process_time()
    pairs = find_near_copies(wafers, wafers.labelled, progress=True)
    result |= {"search_s": round(time.perf_counter() - start, 2), "search_cpu_s": round(time.process_time() - cpu, 2)}
    result |= {"load_average": round(os.getloadavg()[0], 1), "peak_mb_after_search": round(_peak_mb())}
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    missed = [p for p in planted.tolist() if tuple(p) not in found]
    result |= {"pairs": len(pairs), "planted": len(planted), "found": len(planted) - len(missed)}
    result["failing_dies_of_missed"] = [[int((wafers.map(i) == Die.FAIL).sum()) for i in p] for p in missed]
    start = time.perf_counter()
    stats = make_split(wafers, progress=True).stats
    result |= {"split_s": round(time.perf_counter() - start, 2), "peak_mb_after_split": round(_peak_mb())}
    result |= {"split": {k: stats[k] for k in ("lots", "n_groups", "largest_group", "leaked", "warnings")}}
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
