"""The library of a folder: its tables, what fills them (prepare, transcribe, ocr, encode), locks and worker processes.
Imports: encoders, media.
"""
