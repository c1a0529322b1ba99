from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from CONFIG.errors import IntegrityError
from TRAINING.runs.manifest import NAME, digest, environment, read_sealed, seal
from TRAINING.runs.store import write_sealed

FILES = {"model.txt": b"tree\n", "history.json": b"{}"}


def test_what_is_sealed_comes_back(tmp_path: Path) -> None:
    write_sealed(tmp_path / "unit", {"model": "a", "seed": 1}, FILES)
    manifest, files = read_sealed(tmp_path / "unit")
    assert files == FILES
    assert (manifest["model"], manifest["seed"], set(manifest["files"])) == ("a", 1, set(FILES))


def test_writing_again_replaces(tmp_path: Path) -> None:
    write_sealed(tmp_path / "unit", {"seed": 1}, FILES)
    write_sealed(tmp_path / "unit", {"seed": 2}, {"other.txt": b"x"})
    manifest, files = read_sealed(tmp_path / "unit")
    assert (manifest["seed"], files) == (2, {"other.txt": b"x"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["unit"]


def test_an_edited_manifest_is_found(tmp_path: Path) -> None:
    write_sealed(tmp_path / "unit", {"target": "y_will_peak"}, FILES)
    path = tmp_path / "unit" / NAME
    path.write_text(path.read_text().replace("y_will_peak", "y_will_vall"))
    with pytest.raises(IntegrityError, match="edited"):
        read_sealed(tmp_path / "unit")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "{", "[" * 100_000, '{"seal": "x", "files": 3}', "\0"])
def test_what_is_no_manifest_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(IntegrityError, match="manifest"):
        read_sealed(tmp_path)


@given(st.data())
def test_any_flipped_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("sealed") / "unit"
    write_sealed(folder, {"model": "a", "horizon": 5}, FILES)
    path = folder / data.draw(st.sampled_from([NAME, *FILES]))
    whole = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    before = json.loads((folder / NAME).read_bytes())
    path.write_bytes(whole)
    try:
        read_sealed(folder)
    except IntegrityError:
        return
    # The only harmless change: white space between the manifest's tokens.
    assert json.loads(path.read_bytes()) == before


def test_digest_ignores_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1}) != digest({"a": 1, "b": [2, 1]})


def test_environment_names_what_results_depend_on() -> None:
    about = environment()
    assert {"barzoo", "lightgbm", "numpy"} <= set(about["packages"])
    json.dumps(about)


def test_a_manifest_names_files_of_its_folder_only(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit" / NAME).write_bytes(seal({}, {"../secret": b"x"}))
    with pytest.raises(IntegrityError, match="outside its folder"):
        read_sealed(tmp_path / "unit")
