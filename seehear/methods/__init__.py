"""One file a paper, its settings in it or beside it; closed forms; the protocol of a method (`base.py`); the registry.
Imports: inputs, nn, losses.
"""
