"""Why near-copies end at a distance of 0.2: pairs across lots by distance, groups, and what a split by lot would leave.

    python -m experiments.grouping wm811k_dev.npz

Writes grouping.json.
"""

import json
from pathlib import Path

import numpy as np

from wafer_tf.command import CommandParser

LIMITS = (0.1, 0.2, 0.25, 0.3, 0.4)
SEEDS = (0, 1, 2)


def main() -> None:
    p = CommandParser("python -m experiments.grouping", __doc__)
    p.add_argument("maps", type=Path, metavar="MAPS")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()

    from experiments import commit
    from wafer_tf.readers import read
    from wafer_tf.splitting.near_copies import MAX_DISTANCE, find_near_copies
    from wafer_tf.splitting.splits import make_split

    wafers = read(args.maps)
    wafers = wafers.select(wafers.labelled)
    pairs = find_near_copies(wafers, np.arange(len(wafers)), max_distance=max(LIMITS))
    apart = pairs.distance[wafers.lot[pairs.first] != wafers.lot[pairs.second]]
    splits = [make_split(wafers, seed=seed) for seed in SEEDS]
    sizes = np.bincount(splits[0].group)
    record = {
        "commit": commit(),
        "maps": len(wafers),
        "pairs_across_lots": {str(limit): int((apart <= limit).sum()) for limit in LIMITS},
        "max_distance": MAX_DISTANCE,
        "lots": len(np.unique(wafers.lot)),
        "groups": len(sizes),
        "largest_group": int(sizes.max()),
        "test_wafers_leaked_by_a_lot_split": [split.stats["leaked"]["lot"] for split in splits],
        "test_wafers_leaked_by_the_group_split": [split.stats["leaked"]["this"] for split in splits],
    }
    args.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
