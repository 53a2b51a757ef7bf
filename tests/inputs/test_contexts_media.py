"""From files to a step of MCN: subtitles as words and sound as frames, in clips with their context."""

from __future__ import annotations

import pytest
import torch

from seehear.encoders import load_encoder
from seehear.inputs.contexts import ContextConfig, contexts
from seehear.inputs.latents import load_latents
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from seehear.methods.mcn import MCN, MCNConfig
from seehear.nn.davenet import valid_frames
from seehear.nn.random import Randomness
from tests.library.makers import film, srt

LINES = {
    "a": [(0.0, 1.5, "a dog barks"), (1.5, 3.0, "at the red cat"), (3.5, 5.0, "it runs")],
    "b": [(0.2, 1.0, "???"), (4.0, 5.0, "rain on a roof of tin")],
}
ENCODERS = {"audio": ["melframes#seconds=4"], "text": ["words:minilm#max=8"]}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    (root / "media").mkdir()
    for name, lines in LINES.items():
        film(root / "media" / f"{name}.mp4", seconds=6.0)
        srt(root / "media" / f"{name}.srt", lines)
    prepare(root / "media", root / "lib", PrepareOptions(workers=0, clips="subtitles", min_seconds=0.5))
    made = LibraryTables.open(root / "lib")
    encode_library(made, [name for names in ENCODERS.values() for name in names], EngineOptions(workers=0))
    return made


def test_from_files_to_a_step_of_mcn(library):
    data = load_latents(library, encoders=ENCODERS)
    assert [e["shape"] for infos in data.encoders.values() for e in infos] == [[40, 400], [8, 384]]
    made = contexts(library, data, ContextConfig(clips_per_video=4, min_duration=3.0))
    assert (len(made) // made.together, len(made)) == (2, 8)
    batch = made.batch(torch.arange(8), seed=1, epoch=2)
    _check_rows(library, data, made, batch)
    inputs = {"widths": {"audio": 40, "text": 384}, "inputs": {"audio": "mel", "text": "words"}}
    model = MCN(MCNConfig(**inputs, dim=8, hidden=6, clusters=2, queue=8, channels=(4, 4, 4, 4)))
    rng = Randomness(0, 0, 0, 8, 8)
    out = model.objective(model.encode(batch, rng=rng), progress=0.0, rng=rng)
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def _check_rows(library, data, made, batch):
    """Words in the order of time, and as much sound as the clips last; a clip at 0 s has its sound."""
    clips = {clip.id: clip for clip in library.clips()}
    encoder = load_encoder(ENCODERS["text"][0], device="cpu")
    mel, begins = batch["audio"].view(8, 40, 400), set()
    for row, members in enumerate(made.clips(torch.arange(8), seed=1, epoch=2)):
        own = [clips[data.ids[c]] for c in members]
        said = " ".join(text.text for clip in own for text in clip.texts)
        words = torch.from_numpy(encoder.encode([said]))[0]
        torch.testing.assert_close(batch["text"][row], words, rtol=2e-3, atol=2e-3)
        expected = sum((round((clip.end - clip.start) * 16_000) - 400) // 160 + 1 for clip in own)
        assert int(valid_frames(mel[row : row + 1])) == min(expected, 400)
        begins.add(own[0].start)
    assert batch["has_audio"].all()
    assert batch["has_text"].all()
    assert 0.0 in begins


def test_a_text_of_unknown_words_stays_in_the_library(library):
    """Zeros: it counts as a query that says nothing, and a training clip of it alone has no text."""
    data = load_latents(library, encoders=ENCODERS)
    (number,) = [n for n, name in enumerate(data.ids) if name.startswith("b.mp4#0.")]
    assert bool(data.has("text")[number])
    assert not data.rows["text"].vectors[data.rows["text"].first[number]].any()
    alone = contexts(library, data, ContextConfig(clips_per_video=1, min_duration=0.0))
    drawn = {c for epoch in range(20) for row in alone.clips(torch.arange(2), epoch=epoch) for c in row}
    assert drawn == set(range(len(data))) - {number}
