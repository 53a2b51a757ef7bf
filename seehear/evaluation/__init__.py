"""Measures on embeddings: retrieval, classification, leakage, intervals; the report's numbers and verdict.
Imports: search, inputs, library; no method.
"""
