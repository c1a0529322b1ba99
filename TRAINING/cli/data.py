"""``barzoo data``: look at bars, bring them in, and turn them into labeled tables."""

from __future__ import annotations

import typer

from TRAINING.cli.data_build import build
from TRAINING.cli.data_check import check
from TRAINING.cli.data_import import EXAMPLES, import_

app = typer.Typer(help="Check bars, import them, and build labeled tables.", no_args_is_help=True)
app.command("import", epilog=EXAMPLES)(import_)
app.command(epilog="Example:  barzoo data check bars/ --report bars.html")(check)
app.command(epilog="Example:  barzoo data build bars/ --output-dir DATA_PROCESSING/data/labeled --horizon 5")(build)
