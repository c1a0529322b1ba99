"""The frame of every page: one HTML file with its style and script inside."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from TRAINING.reports import style

TEMPLATES = Path(__file__).parent / "templates"
HEADER_FACTS = 6  # of the settings, shown beneath the headline


def render_page(template: str, **values: object) -> str:
    """Fill in a template that extends ``page.html.j2``; all texts are escaped, and a value it lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        palette=style.PALETTE,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        header_facts=HEADER_FACTS,
        **values,
    )
