"""Network parts and numerics that two methods or more use: transformer blocks, spectrograms, k-means, random draws.
Imports: types, errors.
"""
