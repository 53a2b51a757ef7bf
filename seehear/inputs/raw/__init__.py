"""Clips decoded as they are trained on: pixels, waveforms and word numbers, from a library to a batch."""

from seehear.inputs.raw.config import RawConfig
from seehear.inputs.raw.media import RawMedia, load_raw

__all__ = ["RawConfig", "RawMedia", "load_raw"]
