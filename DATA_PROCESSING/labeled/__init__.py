"""Labeled tables: bars, features and labels of one symbol, with what they were made from."""

from DATA_PROCESSING.labeled.build import TableBuilder, label_panel, needs_others
from DATA_PROCESSING.labeled.read import FOLDER, TableInfo, labeled_files, read_info, read_table, table_path

__all__ = [
    "FOLDER",
    "TableBuilder",
    "TableInfo",
    "label_panel",
    "labeled_files",
    "needs_others",
    "read_info",
    "read_table",
    "table_path",
]
