"""Frozen encoders and joint encoders: samples of one modality in, one vector each out; packaged and from hubs.
Imports: media, nn.
"""

from seehear.encoders.base import Encoder, Sample
from seehear.encoders.registry import known_encoders, load_encoder, load_towers

__all__ = ["Encoder", "Sample", "known_encoders", "load_encoder", "load_towers"]
