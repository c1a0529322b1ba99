"""docs/06_COLUMN_REFERENCE.md is what the tables generate."""

from __future__ import annotations

from pathlib import Path

from DATA_PROCESSING.features.cross_section import panel_names
from DATA_PROCESSING.features.reference import column_reference
from DATA_PROCESSING.features.table import feature_table
from DATA_PROCESSING.labels import LABELS

PAGE = Path(__file__).parents[2] / "docs" / "06_COLUMN_REFERENCE.md"


def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == column_reference(), (
        "the column reference is stale: python -m DATA_PROCESSING.features.reference > docs/06_COLUMN_REFERENCE.md"
    )


def test_page_names_every_column_once():
    page = column_reference()
    features = [feature.name for feature in feature_table("comprehensive")]
    for name in [*features, *panel_names(), *(label.name for label in LABELS), "timestamp", "volume"]:
        assert page.count(f"| `{name}`") == 1


def test_pipes_in_formulas_do_not_break_the_tables():
    rows = [line.replace(r"\|", "") for line in column_reference().splitlines() if line.startswith("| ")]
    widths = {line.count("|") - 1 for line in rows}
    assert widths == {2, 3, 4}
