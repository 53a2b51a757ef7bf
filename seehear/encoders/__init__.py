"""Frozen encoders: one modality in, one vector out."""

from seehear.encoders.base import Encoder, Sample
from seehear.encoders.registry import known_encoders, load_encoder, load_towers

__all__ = ["Encoder", "Sample", "known_encoders", "load_encoder", "load_towers"]
