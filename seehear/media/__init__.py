"""Media files as arrays: containers, frames, sound and pictures. Knows files, not libraries."""
