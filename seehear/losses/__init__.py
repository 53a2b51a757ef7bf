"""Losses shared by methods, as pure functions of tensors: contrastive ones, and the pairs that are no negatives.
Imports: types.
"""
