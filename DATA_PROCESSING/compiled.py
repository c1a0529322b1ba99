"""The one decorator that compiles numeric kernels."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import numba


def compiled(function: Callable) -> Callable:
    """Compile a kernel on its first call and keep the machine code for later processes.

    Kernels release the GIL and divide as NumPy does (0/0 is NaN). Fast maths stays off: it may drop NaN and reorder
    sums, and the same bars must give the same bits. A kernel calls no kernel of another file, because the cache of
    machine code only notices changes in the kernel's own file.

    Numba keeps machine code beside the module, else in the user's cache folder. Where neither can be written it
    refuses to compile; the code then goes to a folder for temporary files that belongs to the user alone.
    """
    compile_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
    try:
        return compile_kernel(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    configured = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(temporary_cache_folder())
    try:
        return compile_kernel(function)
    finally:
        numba.config.CACHE_DIR = configured


def temporary_cache_folder() -> Path:
    """Return a folder for machine code under the system's temporary folder.

    Whoever can write there can run code as the user, so a folder that others own or can write is passed over for a
    new one, which only costs compiling again in the next process.
    """
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"barzoo-kernels-{owner}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if hasattr(os, "getuid") and not (private and status.st_uid == owner):
        return Path(tempfile.mkdtemp(prefix="barzoo-kernels-"))
    return folder
