"""The card beside a trained model."""

from __future__ import annotations

import json
from pathlib import Path

from TRAINING.artifacts import load_artifact
from TRAINING.phases.card import model_card


def test_a_unit_has_a_card_that_says_what_its_manifest_says(plan_for, run, tmp_path: Path) -> None:
    plan = plan_for(models=["lightgbm"], symbols=["AAA"], target="fwd_ret_5")
    outcome, _ = run(plan, tmp_path / "run")
    folder = outcome.folder / "units/lightgbm/fwd_ret_5/AAA"
    card, record = (folder / "card.md").read_text(), json.loads((folder / "manifest.json").read_text())
    assert card.startswith("# lightgbm on fwd_ret_5 of AAA\n")
    for part, (first, last) in record["windows"].items():
        assert f"| {part} | {first} to {last} | {record[f'{part}_rows']:,} |" in card
    assert f"| rank_ic | {record['scores']['lightgbm']['rank_ic']:.4g} |" in card
    assert f"It learnt from {record['train_rows']} rows" in card
    assert "5 basis points" in card
    assert load_artifact(folder).features == record["features"]
    latents = record | {"features": ["latent_0"], "train_rows": 5000, "notes": ["it stopped"]}
    other = model_card(latents, "demo")
    assert "latents of another model" in other
    assert "It stopped." in other
    assert "It learnt from" not in other
