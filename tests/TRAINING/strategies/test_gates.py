"""Gates take positions away, never add any, and the report says what that was worth."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError
from TRAINING.strategies.gates import RULES, SIDES, Gate, apply_gates, gate_report, side_of

NAN = np.nan


def test_block_is_all_or_nothing() -> None:
    signal = [1.0, 1.0, 1.0, -0.5, -1.0, 0.0, 1.0]
    gate = Gate("peak", [0.6, 0.5, 0.4, 0.9, 0.1, 0.9, NAN])
    assert apply_gates(signal, [gate]).tolist() == [1.0, 1.0, 0.0, -0.5, 0.0, 0.0, 0.0]
    assert not np.signbit(apply_gates(signal, [gate])[4]), "no negative zero"


def test_scale_is_the_books_bet_size() -> None:
    """Section 10.3: m = 2 Z[(p - 1/2) / sqrt(p (1 - p))] - 1, here by the error function, 0 where it is negative."""
    p = np.array([0.5, 0.55, 0.6, 0.75, 0.9, 0.99, 1.0, 0.45, 0.0])
    expected = [max(0.0, erf((x - 0.5) / sqrt(x * (1 - x)) / sqrt(2))) if 0 < x < 1 else x for x in p]
    np.testing.assert_allclose(apply_gates(-np.ones(9), [Gate("meta", p, "scale")]), -np.array(expected), atol=1e-15)
    assert expected[3] == pytest.approx(0.43629, abs=1e-5)


def test_the_threshold_may_differ_from_row_to_row() -> None:
    gate = Gate("peak", [0.3, 0.3, 0.3], "block", [0.25, 0.3, 0.35])
    assert apply_gates([1, 1, 1], [gate]).tolist() == [1, 1, 0]
    scaled = apply_gates([1, 1, 1], [Gate("peak", [0.3, 0.3, 0.3], "scale", [0.25, 0.3, 0.35])])
    np.testing.assert_allclose(scaled, [erf(0.05 / sqrt(0.21) / sqrt(2)), 0, 0], atol=1e-15)


def test_a_gate_of_one_side_leaves_the_other() -> None:
    signal, p = [1.0, -1.0, 1.0, -1.0], [0.1, 0.1, NAN, NAN]
    assert apply_gates(signal, [Gate("peak", p, side="long")]).tolist() == [0, -1, 0, -1]
    assert apply_gates(signal, [Gate("valley", p, side="short")]).tolist() == [1, 0, 1, 0]
    targets = ("y_will_peak", "y_will_peak_h20", "y_will_valley", "mine", "fwd_ret_5")
    assert [side_of(target) for target in targets] == ["long", "long", "short", "both", "both"]


def test_the_report_of_a_hand_made_table() -> None:
    """Five positions: two blocked of which one earned -2 % and one is not known yet; kept are +1 %, +3 % and -1 %."""
    signal, earned = [1, 1, -1, 0, 1, -1], [0.01, -0.02, -0.03, 0.5, NAN, 0.01]
    gate = Gate("peak", [0.9, 0.2, 0.6, 0.1, NAN, 0.5])
    (row,) = gate_report(signal, earned, [gate]).to_dict("records")
    means = {"return_blocked": row.pop("return_blocked"), "return_kept": row.pop("return_kept")}
    assert row == {
        "gate": "peak",
        "rule": "block",
        "side": "both",
        "rows": 5,
        "blocked": 2,
        "unknown": 1,
        "share": 0.4,
        "exposure_kept": 0.6,
    }
    assert means == pytest.approx({"return_blocked": -0.02, "return_kept": 0.01})


def test_what_does_not_exist_has_no_mean() -> None:
    report = gate_report([1, 0], [0.01, 0.02], [Gate("open", [0.9, 0.9]), Gate("shut", [0.1, 0.1], side="short")])
    opened, shut, every = report.to_dict("records")
    assert (opened["blocked"], opened["share"], opened["return_kept"]) == (0, 0, 0.01)
    assert np.isnan(opened["return_blocked"])
    assert (shut["rows"], shut["blocked"]) == (0, 0)
    assert np.isnan([shut["share"], shut["exposure_kept"], shut["return_blocked"], shut["return_kept"]]).all()
    assert (every["gate"], every["rows"], every["blocked"]) == ("all", 1, 0)
    assert gate_report([1.0], [0.1], []).empty


@st.composite
def gated_rows(draw) -> tuple[np.ndarray, np.ndarray, list[Gate]]:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 30))
    signal = random.choice([-1, -0.4, 0, 0.4, 1], n)
    earned = np.where(random.random(n) < 0.2, NAN, random.normal(size=n))
    gates = [
        Gate(
            f"gate {number}",
            np.where(random.random(n) < 0.2, NAN, random.choice([0, 0.3, 0.5, 0.8, 1], n)),
            draw(st.sampled_from(RULES)),
            draw(st.sampled_from([0.3, 0.5])),
            draw(st.sampled_from(SIDES)),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    return signal, earned, gates


@settings(max_examples=100, deadline=None)
@given(gated_rows())
def test_no_gate_adds_and_order_does_not_matter(case) -> None:
    signal, _, gates = case
    gated = apply_gates(signal, gates)
    assert (np.abs(gated) <= np.abs(signal)).all()
    assert (gated * signal >= 0).all()
    np.testing.assert_allclose(apply_gates(signal, gates[::-1]), gated, atol=1e-15)


@settings(max_examples=100, deadline=None)
@given(gated_rows())
def test_the_report_is_what_a_loop_counts(case) -> None:
    signal, earned, gates = case
    report = gate_report(signal, earned, gates)
    assert list(report["gate"]) == [gate.name for gate in gates] + ["all"] * (len(gates) > 1)
    groups = [([gate], gate.side) for gate in gates] + [(gates, "both")] * (len(gates) > 1)
    for (group, side), row in zip(groups, report.to_dict("records"), strict=True):
        counts, sums = {"rows": 0, "blocked": 0, "unknown": 0}, {"lost": [0.0, 0.0], "kept": [0.0, 0.0]}
        size = left = 0.0
        for i, before in enumerate(signal):
            if before == 0 or (side == "long" and before < 0) or (side == "short" and before > 0):
                continue
            after = apply_gates(signal, group)[i]
            counts["rows"] += 1
            counts["blocked"] += after == 0
            own = [gate for gate in group if gate.side in ("both", "long" if before > 0 else "short")]
            counts["unknown"] += after == 0 and any(np.isnan(gate.probability[i]) for gate in own)
            size, left = size + abs(before), left + abs(after)
            if not np.isnan(earned[i]):
                for part, amount in (("lost", abs(before) - abs(after)), ("kept", abs(after))):
                    sums[part][0] += amount * np.sign(before) * earned[i]
                    sums[part][1] += amount
        assert {key: row[key] for key in counts} == counts
        expected = {
            "share": counts["blocked"] / counts["rows"] if counts["rows"] else NAN,
            "exposure_kept": left / size if size else NAN,
            "return_blocked": sums["lost"][0] / sums["lost"][1] if sums["lost"][1] else NAN,
            "return_kept": sums["kept"][0] / sums["kept"][1] if sums["kept"][1] else NAN,
        }
        assert {key: row[key] for key in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("signal", "gate", "error", "message"),
    [
        ([1.0], Gate("g", [0.5], "blok"), ConfigError, "gate g: rule 'blok' is unknown; did you mean 'block'"),
        ([1.0], Gate("g", [0.5], side="lng"), ConfigError, "gate g: side 'lng' is unknown; did you mean 'long'"),
        ([1.0], Gate("g", [0.5], threshold=0), ConfigError, r"threshold must be within \(0, 1\), got 0"),
        ([1.0, 1.0], Gate("g", [0.5, 0.5], threshold=[0.5, NAN]), ConfigError, r"threshold must be within \(0, 1\)"),
        ([1.0, 1.0], Gate("g", [0.5]), DataError, "one probability per signal is needed"),
        ([1.0, 1.0], Gate("g", [0.5, 1.5]), DataError, "1 of 2 are not, the first 1.5 in row 1"),
        ([1.0, NAN], Gate("g", [0.5, 0.5]), DataError, "signals must be finite"),
    ],
)
def test_what_cannot_be_a_gate_is_told(signal, gate: Gate, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        apply_gates(signal, [gate])


def test_a_report_needs_a_return_per_signal() -> None:
    with pytest.raises(DataError, match="one return per signal is needed"):
        gate_report([1.0, 1.0], [0.1], [])


def test_no_gates_by_default() -> None:
    assert load_run_config("gates") == {"targets": [], "rule": "block", "threshold": 0.0}
    assert set(RULES) == {load_run_config("gates", {"rule": rule})["rule"] for rule in RULES}
    with pytest.raises(ConfigError, match="'stop' is not a choice"):
        load_run_config("gates", {"rule": "stop"})
