"""What a hostile file would make a decoder do. In a file that imports nothing: decoding processes load it."""

import os
import time


def crash(path):
    os.abort()


def hang(path):
    time.sleep(600)
