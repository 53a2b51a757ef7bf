"""One file a paper, with its settings beside it; closed forms; the protocol of a method (`base.py`) and the registry.
Imports: inputs, nn, losses.
"""
