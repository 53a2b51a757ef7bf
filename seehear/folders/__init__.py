"""A folder kept searchable: the work on it in parts, its indexes, search without training, exports of moments.
Imports: space, search, library and below.
"""
