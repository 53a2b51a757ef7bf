"""What a hostile file would make a decoder do. In a file that imports nothing: decoding processes load it."""

import os
import time


def crash(path):
    os.abort()


def hang(path):
    time.sleep(600)


def hold(folder):
    """Says that it runs, and goes on until it is told to end."""
    (folder / "held").touch()
    while not (folder / "released").exists():
        time.sleep(0.01)
