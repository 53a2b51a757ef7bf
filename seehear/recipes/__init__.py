"""Presets of each method, `PRESETS`, and how its model is made from data, `build`. Nothing else.
Imports: runs and below.
"""
