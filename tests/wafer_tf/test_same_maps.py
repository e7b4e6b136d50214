import hashlib
import subprocess
import sys
from pathlib import Path

from wafer_tf.encoding import encode
from wafer_tf.readers import read, write_parquet
from wafer_tf.splitting.splits import make_split
from wafer_tf.waferset import WaferSet


def _encodings(wafers: WaferSet) -> str:
    digest = hashlib.sha256()
    for i in range(len(wafers)):
        digest.update(encode(wafers.map(i)).tobytes())
    return digest.hexdigest()


def test_npz_pickle_and_parquet_of_the_real_maps_give_the_same_split_and_encodings(
    real_npz: Path, tmp_path: Path
) -> None:
    pickled, parquet = tmp_path / "LSWMD.pkl", tmp_path / "maps.parquet"
    tool = real_npz.parents[2] / "tools" / "make_lswmd.py"
    subprocess.run([sys.executable, str(tool), str(real_npz), str(pickled)], check=True)
    write_parquet(read(pickled), parquet)
    splits, encodings = set(), set()
    for path in (real_npz, pickled, parquet):
        wafers = read(path)
        saved = path.with_suffix(".split.npz") if path != real_npz else tmp_path / "npz.split.npz"
        make_split(wafers, seed=0).save(saved)
        splits.add(saved.read_bytes())
        encodings.add(_encodings(wafers))
    assert len(splits) == 1
    assert len(encodings) == 1
