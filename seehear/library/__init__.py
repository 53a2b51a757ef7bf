"""The library of a folder: its tables, the runs that fill them (prepare, transcribe, ocr, encode), locks and worker
processes. Imports: encoders, media.
"""
