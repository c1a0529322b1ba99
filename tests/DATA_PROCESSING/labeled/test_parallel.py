"""Several symbols at once: in processes as in threads, whatever happens to them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from CONFIG.config_loader import load_run_config
from CONFIG.errors import BarzooError, DataError
from DATA_PROCESSING.labeled import TableBuilder, label_panel
from DATA_PROCESSING.labeled import parallel as calls_at_once
from DATA_PROCESSING.labeled.parallel import in_parallel
from DATA_PROCESSING.sources import read_panel

LONG = 1e9  # seconds: enough for processes
OWN = """
from DATA_PROCESSING.features.feature import Feature, lagged

def momentum(bars, window):
    return bars.close / lagged(bars.close, window) - 1

FEATURES = (Feature("my_momentum", momentum, (7,), 7, "close / close 7 bars ago - 1"),)
"""


def test_processes_make_the_same_files_as_threads(tmp_path, monkeypatch):
    (tmp_path / "my_features.py").write_text(OWN)
    features = load_run_config("features", {"set": "comprehensive", "features_from": str(tmp_path / "my_features.py")})
    panel = read_panel("demo", load_run_config("bars"), ["AAPL", "GOOG", "IBM"])
    builder = TableBuilder(panel, features, load_run_config("labels", {"excess": True}))
    label_panel(builder, tmp_path / "threads", jobs=2)
    monkeypatch.setattr(calls_at_once, "_WORTH_SECONDS", 0.0)
    told = []
    assert label_panel(builder, tmp_path / "processes", jobs=2, on_step=told.append) == sorted(told) == panel.symbols
    names = sorted(path.name for path in (tmp_path / "threads").iterdir())
    assert len(names) == 3
    for name in names:
        assert (tmp_path / "processes" / name).read_bytes() == (tmp_path / "threads" / name).read_bytes()
    assert label_panel(builder, tmp_path / "processes", jobs=2) == []


@pytest.mark.parametrize("seconds", [0.0, LONG], ids=["threads", "processes"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_every_call_gives_its_result(seconds, jobs):
    found = dict(in_parallel(divmod, ((str(number), (number, 7)) for number in range(50)), 50, jobs, seconds))
    assert found == {str(number): divmod(number, 7) for number in range(50)}


def test_much_work_is_done_elsewhere_and_little_here():
    def pids(seconds: float) -> set[int]:
        return {pid for _, pid in in_parallel(os.getpid, [("A", ()), ("B", ())], 2, 2, seconds)}

    assert pids(0.0) == {os.getpid()}
    assert os.getpid() not in pids(LONG)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked here")
def test_a_ctrl_c_does_not_reach_the_processes():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    for _, blocked in in_parallel(signal.pthread_sigmask, [("A", (signal.SIG_BLOCK, []))], 2, 2, LONG):
        assert signal.SIGINT in blocked
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


@pytest.mark.parametrize("seconds", [0.0, LONG], ids=["threads", "processes"])
def test_an_error_comes_back_as_it_is(seconds):
    with pytest.raises(ZeroDivisionError):
        list(in_parallel(divmod, [("A", (1, 0))], 2, 2, seconds))
    with pytest.raises(DataError, match="no such"):
        list(in_parallel(read_panel, [("A", ("no such folder", load_run_config("bars")))], 2, 2, seconds))


def test_a_process_that_is_killed_is_told_of():
    with pytest.raises(BarzooError, match="ended from outside.*fewer --jobs"):
        list(in_parallel(os._exit, [("A", (1,))], 2, 2, LONG))
    assert [result for _, result in in_parallel(divmod, [("A", (9, 7))], 2, 2, LONG)] == [(1, 2)]


class _Unreadable:
    def __reduce__(self):
        return int, ("no number",)


def test_what_cannot_travel_is_told_apart_from_a_death():
    with pytest.raises(BarzooError, match="cannot be sent from process to process; --jobs 1 does without"):
        list(in_parallel(print, [("A", (_Unreadable(),))], 2, 2, LONG))


SCRIPT = """
import os, threading
from DATA_PROCESSING.labeled.parallel import in_parallel
def work(started):
    print(os.getpid(), flush=True)
    threading.Event().wait()  # for ever
calls = [("A", ("A",)), ("B", ("B",))]
list(in_parallel(work, calls, 2, 2, 1e9))
"""


@pytest.mark.skipif(os.name == "nt", reason="a process there does not see its parent go")
def test_processes_end_with_the_one_that_started_them():
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        pids = {int(process.stdout.readline()), int(process.stdout.readline())}
        assert process.pid not in pids
        process.kill()
        # Readable at the end of the file: when the last process that could write there is gone.
        ended, _, _ = select.select([process.stdout], [], [], 60)
        for pid in pids if not ended else ():
            os.kill(pid, signal.SIGKILL)
    assert ended


def test_processes_write_where_the_caller_is(tmp_path, monkeypatch):
    monkeypatch.setattr(calls_at_once, "_WORTH_SECONDS", 0.0)
    panel = read_panel("demo", load_run_config("bars"), ["FB", "GOOG"])
    builder = TableBuilder(panel, load_run_config("features"), load_run_config("labels"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert label_panel(builder, "tables", jobs=2) == ["FB", "GOOG"]
        assert len(list((tmp_path / name / "tables").iterdir())) == 2


def test_a_process_runs_a_file_of_features_once(tmp_path, monkeypatch):
    monkeypatch.setattr(calls_at_once, "_WORTH_SECONDS", 0.0)
    count = f"with open({str(tmp_path / 'runs')!r}, 'a') as file:\n    file.write('x')\n"
    (tmp_path / "my_features.py").write_text(count + OWN)
    features = load_run_config("features", {"features_from": str(tmp_path / "my_features.py")})
    panel = read_panel("demo", load_run_config("bars"))
    builder = TableBuilder(panel, features, load_run_config("labels"))
    before = (tmp_path / "runs").stat().st_size
    for name in ("one", "two"):
        label_panel(builder, tmp_path / name, jobs=2)
    assert 1 <= (tmp_path / "runs").stat().st_size - before <= 2  # ten tables by two processes


def test_no_call_is_taken_up_after_the_end_of_interest():
    taken = []

    def calls():
        for number in range(10_000):
            taken.append(number)
            yield str(number), (range(1000),)

    results = in_parallel(sum, calls(), 10_000, 2, 0.0)
    next(results)
    results.close()
    assert len(taken) < 10_000
