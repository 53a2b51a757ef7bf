"""Losses shared by methods, as pure functions of tensors: contrastive, clustering, reconstruction.
Imports: nn, distributed.
"""
