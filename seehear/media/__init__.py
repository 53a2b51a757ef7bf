"""Media files as arrays: containers, frames, sound, scenes, pictures. Knows files, not libraries.
Imports: types, errors, progress.
"""
