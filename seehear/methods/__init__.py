"""One file a paper, its settings and layers in it or beside it; closed forms; the protocol of a method and the registry
(`base.py`).
Imports: inputs, nn, losses.
"""
