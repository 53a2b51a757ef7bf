"""Training data: cached latents, contexts of neighbouring clips, decoded media (`raw`), vocabulary, batches.
Imports: library, encoders, nn.
"""
