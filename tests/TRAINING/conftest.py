"""Pictures are drawn where they are looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from TRAINING.reports import style


def blank(paint: style.Paint, width: float, height: float, settings: dict[str, object], **save: object) -> bytes:
    return b"<svg>\n</svg>" if save["format"] == "svg" else b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module", autouse=True)
def _blank_pictures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Reports with empty pictures, which take most of their time: tests/TRAINING/reports and the pages draw them."""
    with pytest.MonkeyPatch.context() as patch:
        if "reports" not in request.path.parts:
            patch.setattr(style, "_save", blank)
        yield
