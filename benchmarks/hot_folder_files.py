"""The files that `benchmarks.hot_folder_kills` puts into a folder, and how many maps each holds."""

import gzip
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

BAD = COPIES = 20


def grids_as_npy(count: int, *, seed: int) -> dict[str, bytes]:
    """Return that many different maps as npy, BAD files that break off and COPIES under other names."""
    from tests.station import npy

    files = {f"w{number:04}.npy": npy(grid) for number, grid in enumerate(_grids(count, seed))}
    names = random.Random(seed).sample(list(files), BAD + COPIES)
    files |= {f"bad-{name}": files[name][:-7] for name in names[:BAD]}
    return files | {f"copy-{name}": files[name] for name in names[BAD:]}


def of_every_format(count: int, *, seed: int) -> tuple[dict[str, bytes], dict[str, int]]:
    """Return that many files of tools' formats in turn, and how many maps each holds; no two hold the same map."""
    from tests.station import npz, text, wafer_set
    from tests.wafer_tf.formats import writers_grids as grids
    from tests.wafer_tf.formats.writers_klarf import write_klarf
    from tests.wafer_tf.formats.writers_stdf import write_atdf, write_stdf
    from tests.wafer_tf.formats.writers_table import write_die_table

    def lot(four: list[NDArray[Any]]) -> list[tuple[NDArray[np.uint8], str, str]]:
        return [(grid, "LOTA", f"{number:02}") for number, grid in enumerate(four, 1)]

    def one_bad(four: list[NDArray[Any]]) -> bytes:
        return wafer_set([four[0], np.zeros_like(four[1]), *four[2:]])

    writers: dict[str, tuple[int, Any]] = {
        "stdf": (4, lambda four: write_stdf(lot(four))),
        "stdf.gz": (4, lambda four: gzip.compress(write_stdf(lot(four), big_endian=True))),
        "atdf": (4, lambda four: write_atdf(lot(four))),
        "lot.csv": (4, lambda four: write_die_table({(name, wafer): grid for grid, name, wafer in lot(four)})),
        "set.npz": (4, wafer_set),
        "bad.npz": (4, one_bad),
        "klarf12": (1, lambda four: write_klarf(four[0])),
        "klarf18": (1, lambda four: write_klarf(four[0], version="1.8")),
        "e142.xml": (1, lambda four: grids.write_e142_variant(four[0])),
        "g85.xml": (1, lambda four: grids.write_g85(four[0])),
        "sinf": (1, lambda four: grids.write_sinf(four[0])),
        "wmap": (1, lambda four: grids.write_wmap(four[0])),
        "tsk": (1, lambda four: grids.write_tsk(four[0])),
        "electroglas": (1, lambda four: grids.write_electroglas(four[0])),
        "csv": (1, lambda four: text(four[0])),
        "npz": (1, lambda four: npz(a=four[0])),
    }
    made = _grids(4 * count, seed)
    files, maps = {}, {}
    for number in range(count):
        kind, (held, write) = list(writers.items())[number % len(writers)]
        name = f"t{number:04}.{kind}"
        files[name], maps[name] = write(made[4 * number : 4 * number + 4]), held
    return files, maps


def _grids(count: int, seed: int) -> list[NDArray[np.uint8]]:
    """Return different synthetic maps, each with a die that fails, which a KLARF file has to have."""
    from wafer_tf.synthesis import synthesize

    wafers = synthesize(-(-count // 9), seed=seed).wafers
    grids = [wafers.map(number) for number in range(count)]
    for grid in grids:
        if not (grid == 2).any():
            row, col = np.argwhere(grid)[len(grid)]
            grid[row, col] = 2
    return grids
