"""How threads of one run share Python's lock."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_switches() -> Iterator[None]:
    """A native fit returns to Python after every tree; it should not wait 5 ms for another fit's bookkeeping."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
