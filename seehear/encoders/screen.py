"""Text on screen through RapidOCR, whose wheel carries the models of PP-OCR: boxes and lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from seehear.encoders.weights import file_hash, joint_hash
from seehear.errors import require

EXTRA = "ocr"
PROBE_SIDE = 256
"""Shorter side, in pixels, of the frame in which text is looked for: a tenth of the time of a full read."""
# Longer side up to which a frame is read as it is.
_LARGEST = 1280
# Least probability of a line.
_SURE = 0.7
_NARROWEST = 100  # longer side of a picture over its shorter one


@dataclass(frozen=True)
class ScreenText:
    """A line of text in a frame."""

    text: str
    score: float
    """Probability, [0, 1]."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom, as shares of the frame's width and height."""


class RapidScreen:
    """RapidOCR on one thread. It pickles without its networks, which are loaded at the first call."""

    @cached_property
    def _probe(self) -> Any:
        return _engine(side=PROBE_SIDE, limit="min")

    @cached_property
    def _reader(self) -> Any:
        return _engine(side=_LARGEST, limit="max")

    def find(self, frame: np.ndarray) -> np.ndarray:
        """(N, 4) boxes, as in `ScreenText`, where there may be text in (H, W, 3) uint8, RGB; quick and coarse."""
        cv2 = require("cv2", EXTRA)
        height, width = frame.shape[:2]
        # A rule or a border has no room for letters, and RapidOCR cannot resize one.
        if max(height, width) > _NARROWEST * min(height, width):
            return np.zeros((0, 4))
        scale = PROBE_SIDE / min(height, width)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            # By area: OpenCV's other ways of shrinking skip pixels, and thin strokes with them.
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        found = self._probe(_bgr(frame), use_det=True, use_cls=False, use_rec=False)
        boxes = [] if found.boxes is None else [_box(corners, frame) for corners in found.boxes]
        return np.array(boxes, dtype=np.float64).reshape(-1, 4)

    def read(self, frame: np.ndarray) -> list[ScreenText]:
        """The lines of a frame, from top to bottom."""
        found = self._reader(_bgr(frame), use_det=True, use_cls=False, use_rec=True)
        if found.boxes is None or found.txts is None:
            return []
        lines = zip(found.txts, found.scores, found.boxes, strict=True)
        return [
            ScreenText(" ".join(text.split()), float(score), _box(corners, frame))
            for text, score, corners in lines
            if score >= _SURE and text.strip()
        ]


def fingerprint() -> str:
    """SHA-256 over RapidOCR's version and the models that it carries."""
    folder = Path(str(require("rapidocr", EXTRA).__file__)).parent / "models"
    # Sorted: the order of a folder differs between machines.
    models = [f"{path.name} {file_hash(path)}" for path in sorted(folder.glob("*.onnx"))]
    return joint_hash([metadata.version("rapidocr"), *models])


def _engine(*, side: int, limit: str) -> Any:
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    options = {"Global.log_level": "critical", "Det.limit_side_len": side, "Det.limit_type": limit}
    return require("rapidocr", EXTRA).RapidOCR(params=options | threads)


def _bgr(frame: np.ndarray) -> np.ndarray:
    # OpenCV's order of colours.
    return np.ascontiguousarray(frame[:, :, ::-1])


def _box(corners: Any, frame: np.ndarray) -> tuple[float, float, float, float]:
    xs, ys = np.asarray(corners, dtype=np.float64).T
    height, width = frame.shape[:2]
    return float(xs.min()) / width, float(ys.min()) / height, float(xs.max()) / width, float(ys.max()) / height
