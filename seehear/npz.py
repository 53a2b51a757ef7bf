"""Archives of arrays (.npz), read only where what they declare agrees with what they hold.

NumPy allocates what a header declares before it reads, and deflate packs zeros a thousandfold: a small file could take
all memory. Everything is checked against the directory of the archive first.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

# Bytes up to which arrays are read however well they are packed
LARGE = 2**28
# Largest size of larger arrays, in sizes of their file
_MOST = 100
# Version 3 is for names of fields beyond Latin-1, and arrays of numbers or text have no fields.
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@contextmanager
def open_npz(path: str | Path) -> Iterator[Any]:
    """Arrays by name, as `np.load` gives them. Raises `ValueError`, in one line, for members that are no arrays of
    numbers or text, or declare another size than they have."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_size(sum(member.file_size for member in members), os.path.getsize(path))
        for member in members:
            _header(archive, member)
    # Opened here: NumPy leaves a damaged archive open.
    # Without pickles: reading one runs the code in it.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        yield arrays


def check_size(size: int, stored: int) -> None:
    """Raises `ValueError` for arrays too large for the file that holds them: real data do not compress that much."""
    if size > LARGE and size > _MOST * stored:
        raise ValueError(f"arrays of {size / 2**20:,.0f} MB in a file of {stored / 2**20:,.0f} MB, which is not read")


def mapped(path: str | Path, name: str) -> np.ndarray | None:
    """A memory-mapped array of a file that `open_npz` has checked; None for one that is compressed, or empty."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        member = archive.getinfo(f"{name}.npy")
        shape, columns_first, dtype, begin = _header(archive, member)
        # Packed numbers cannot be mapped, and no system maps a range without bytes.
        if member.compress_type != zipfile.ZIP_STORED or 0 in shape:
            return None
        # The local header: 30 bytes of fixed size, which end in the lengths of the name and of the extra field.
        file.seek(member.header_offset)
        local = file.read(30)
    # The lengths of the name and of the extra field, which need not be those of the directory.
    begin += member.header_offset + len(local) + sum(struct.unpack("<HH", local[26:]))
    return np.memmap(path, dtype, "r", begin, shape, "F" if columns_first else "C")


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """(shape, columns first, dtype, bytes before the numbers)"""
    name = member.filename.removesuffix(".npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed in a way that NumPy does not write")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{name} is an array of records, or of a later NumPy")
        shape, columns_first, dtype = _HEADERS[version](file)
        begin = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects, which are not read")
    # In Python's integers: those of NumPy overflow, and a forged shape could then agree with the size.
    size, there = math.prod(shape) * dtype.itemsize, member.file_size - begin
    # Nothing in a direction takes no bytes, however many there are said to be in another.
    if size != there or min(shape, default=0) < 0 or max(shape, default=0) > member.file_size:
        raise ValueError(f"{name} declares {shape} of {dtype}, {size:,} bytes, and holds {there:,}")
    return shape, columns_first, dtype, begin
