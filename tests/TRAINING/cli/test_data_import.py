"""`barzoo data import` as a user types it."""

from __future__ import annotations

import json

import pytest

from TRAINING.cli import data_import


def test_an_import_its_repetition_and_its_use(tmp_path, bars_folder, barzoo):
    done = barzoo("data", "import", bars_folder, "--to", "new", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "new: 3 symbols imported, 0 up to date already, 1,500 bars\n"
    assert "import 3/3 CCC" in done.stderr
    again = barzoo("data", "import", bars_folder, "--to", "new", "--json", cwd=tmp_path)
    about = json.loads(again.stdout)
    assert about["folder"] == "new"
    assert about["symbols"][0] == {"symbol": "AAA", "rows": 500, "bad_rows": 0, "duplicates": 0, "is_new": False,
                                   "problem": ""}  # fmt: skip
    assert "3 of 3 symbols usable" in barzoo("data", "check", "new", cwd=tmp_path).stdout


def test_some_symbols_of_some_days(tmp_path, bars_folder, barzoo):
    done = barzoo("data", "import", bars_folder, "--to", "new", "--symbols", "AAA,CCC", "--start", "2015-02-01",
                  "--end", "2015-03-01", cwd=tmp_path)  # fmt: skip
    assert done.stdout == "new: 2 symbols imported, 0 up to date already, 40 bars\n"


def test_some_symbols_failed(tmp_path, bars_folder, barzoo):
    bars = tmp_path / "bars"
    bars.mkdir()
    text = (bars_folder / "AAA.csv").read_text()
    (bars / "AAA.csv").write_text(text.replace("\n", "\n2014-01-01 00:00:00+00:00,x,1,1,1,1\n", 1))
    (bars / "BAD.csv").write_text("a,b\n1,2\n")
    done = barzoo("data", "import", bars, "--to", "new", cwd=tmp_path)
    assert done.returncode == 6
    assert "import 1/2 BAD: failed, " in done.stderr
    assert "no column timestamp" in done.stderr
    assert done.stdout.splitlines()[1] == "1 bad row set aside in new/_bad_rows"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere", "--to", "new"], 3, "nowhere: no such file or folder"),
        (["bars", "--to", "new"], 3, "BAD.csv: no column timestamp"),
        (["demo", "--to", "new", "--start", "2030-01-01"], 3, "demo: no bar in this range of time"),
        (["demo", "--to", "new", "--symbols", "APPL"], 2, "no symbol 'APPL'; did you mean 'AAPL'"),
        (["demo", "--to", "new", "--start", "soon"], 2, "--start: 'soon' is no date or time"),
        (["demo", "--to", "new", "--start", "2020-01-02", "--end", "2020-01-02"], 2, "--end: 2020-01-02 is not after"),
        (["bars", "--to", "bars/new"], 2, "--to: bars/new is within bars"),
        (["demo", "--to", "bars/BAD.csv"], 2, "bars/BAD.csv: cannot write there"),
        (["demo"], 2, "Missing option '--to'"),
        (["postgresql://me:s3cret@host/db?table=bars", "--to", "new"], 2, "a password in a URL ends up in logs"),
        (["sqlite:///none.db?table=bars", "--to", "new"], 3, "no file 'none.db'"),
        (["s3://key:s3cret@bucket/bars", "--to", "new"], 2, "a URL with a password"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_clear_line(tmp_path, arguments, code, message, barzoo):
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "BAD.csv").write_text("a,b\n1,2\n")
    done = barzoo("data", "import", *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    flat = " ".join(done.stderr.replace("│", " ").split())
    assert message in flat
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("new/*.parquet"))


def test_moments_without_a_zone_are_in_utc():
    assert str(data_import._moment("2020-01-31T15:30", "--start")) == "2020-01-31 15:30:00+00:00"
    assert str(data_import._moment("2020-01-31T15:30-05:00", "--start")) == "2020-01-31 20:30:00+00:00"
