"""Indexes and queries: exact and approximate search, calibrated scores, full text, filters, lists of hits.
Imports: library, nn; no method.
"""
