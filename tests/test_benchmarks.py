"""Benchmarks with numbers in the documentation: no training on what is scored, and counts that agree with papers."""

import csv
import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from seehear.library.tables import Clip

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data"))


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "esc10").is_dir(), reason=f"no {DATA}/esc10: set SEEHEAR_DATA")
def test_no_fold_trains_on_what_it_is_scored_on(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    folds, media = importlib.import_module("demo_folds"), importlib.import_module("hub_media")
    with media.make(DATA.resolve(), tmp_path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    clips = [
        Clip(
            id=str(n),
            source=row["image"] or row["video"],
            audio_source=row["audio"],
            group=row["group"],
            split=row["split"],
            labels=(row["labels"],) if row["labels"] else (),
            meta={"fold": row["fold"]},
        )
        for n, row in enumerate(rows)
    ]
    for fold in "1234":
        splits = {c.id: folds._split(c, fold, held_out=True) for c in clips}
        test = {c.group for c in clips if splits[c.id] == "test"}
        assert test.isdisjoint(c.group for c in clips if splits[c.id] != "test")
        assert all(splits[c.id] == "test" for c in clips if folds._shown(c) or c.meta["fold"] == fold)
    own = {c.id: folds._split(c, "4", held_out=False) for c in clips}
    assert own == {c.id: c.split for c in clips}  # what `seehear evaluate` goes by


def test_noise_lies_so_many_decibels_below_the_content(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sets = importlib.import_module("noise_sets")
    rng = np.random.default_rng(0)
    sound, spoken = rng.normal(size=16_000), (rng.normal(size=4_000),)
    for kind in sets.NOISES:
        noise = sets.make_noise(kind, len(sound), rng, spoken)
        mixed = sets.mix(sound, [noise], 10)
        share = np.linalg.lstsq(np.stack([sound, noise], axis=1), mixed, rcond=None)[0]
        below = 20 * np.log10(np.std(share[0] * sound) / np.std(share[1] * noise))
        assert below == pytest.approx(10, abs=0.1), kind


def test_the_peers_of_fusemix_have_its_loss(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    peers = importlib.import_module("peers")
    own = peers.OFFICIAL, "open_clip"
    assert peers.agreement(16, (8, 12), own) == pytest.approx(dict.fromkeys(own, 0.0), abs=1e-5)


@pytest.mark.slow
def test_sentence_transformers_loss_in_both_directions_is_ours(monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    peers = importlib.import_module("peers")
    assert peers.agreement(16, (8, 12))["sentence-transformers"] < 1e-5


@pytest.mark.parametrize(("size", "teraflops"), [("base", 9.09), ("large", 29.80)])
def test_fine_tuning_is_counted_as_the_vatt_paper_counts_it(size, teraflops, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    view = importlib.import_module("vatt_cost").fine_tuned(size, 32, 320, 1.0)
    assert 12 * view["the paper's reading"] / 1e3 == pytest.approx(teraflops, rel=0.015)  # products only
    assert 12 * view["with elementwise"] / 1e3 == pytest.approx(teraflops, rel=0.001)
