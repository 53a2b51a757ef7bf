"""Frozen encoders: one modality in, one vector out."""

from seehear.encoders.base import Encoder, Sample
from seehear.encoders.registry import DEFAULTS, known_encoders, load_encoder

__all__ = ["DEFAULTS", "Encoder", "Sample", "known_encoders", "load_encoder"]
