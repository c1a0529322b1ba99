from __future__ import annotations

import numpy as np
import pytest
import torch

from TRAINING.neural import fit_many as program
from TRAINING.neural.data import TensorTable, make_generator, window_ends
from TRAINING.neural.fit import FitResult, FitSettings, fit
from TRAINING.neural.fit_many import Job, fit_many
from TRAINING.neural.modules import Optimisation, SupervisedModule
from TRAINING.neural.nets import Head, MLPConfig, Net, Standardise, initialise

SETTINGS = FitSettings(6, 32, seed=3, patience=2, device="cpu")
HEADS = (Head("value", weight=2.0), Head("peak", "binary"))


def make_job(
    rows: int = 100,
    later: int = 40,
    seed: int = 0,
    heads: tuple[Head, ...] = HEADS,
    features: int = 5,
    loss: str = "squared",
    weighted: bool = False,
    window: int = 0,
    norm: bool = False,
    **optimisation: object,
) -> Job:
    """A net and its samples; the same arguments make the same."""
    random = np.random.default_rng([rows, seed])
    X = random.normal(size=(rows + later, features)).astype(np.float32)
    score = X[:, 0] + X[:, 1] * X[:, 2] + random.normal(size=len(X))
    y = np.column_stack([score if head.kind == "regression" else score > 0 for head in heads]).astype(float)
    if seed % 2:
        X[random.random(X.shape) < 0.1] = np.nan
        X[:, 3] = 1.0
        y[random.random(y.shape) < 0.1] = np.nan
    config = MLPConfig(features, heads, hidden=(16, 8), dropout=0.3, norm=norm)
    net = config.build() if not window else _windowed(features, window, heads)
    initialise(net, make_generator(3))
    net.learn_scales(X[:rows], y[:rows])
    module = SupervisedModule(net, heads, Optimisation(**{"learning_rate": 0.03, **optimisation}), loss)
    weight = random.uniform(0.5, 2, rows) if weighted else None
    return Job(
        module, _table(X[:rows], net, y[:rows], weight, window), _table(X[rows:], net, y[rows:], None, window)
    )  # fmt: skip


def _table(X: np.ndarray, net: Net, y: np.ndarray, weight: np.ndarray | None, window: int) -> TensorTable:
    if not window:
        return TensorTable.of(X, net, y, weight)
    ends = window_ends(np.zeros(len(X)), np.arange(len(X)), window, 1)
    return TensorTable.of(
        X, net, y[ends], None if weight is None else weight[ends], ends=torch.from_numpy(ends), window=window
    )


class _Convolution(torch.nn.Module):
    """(n, window, features) -> (n, 4)."""

    outputs = 4

    def __init__(self, features: int, window: int) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv1d(features, 4, window)
        torch.nn.init.normal_(self.convolution.weight, std=0.1, generator=make_generator(5))
        torch.nn.init.zeros_(self.convolution.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x.transpose(1, 2)).squeeze(2).tanh()


def _windowed(features: int, window: int, heads: tuple[Head, ...]) -> Net:
    return Net(Standardise(features), _Convolution(features, window), heads)


def alone(job: Job, settings: FitSettings = SETTINGS) -> FitResult:
    return fit(job.module, job.train, job.validation, settings)


def weights(job: Job) -> np.ndarray:
    return torch.cat([value.flatten().double() for value in job.module.net.state_dict().values()]).numpy()


def check_same(rows: list[dict], settings: FitSettings = SETTINGS, **common: object) -> list[FitResult]:
    """Nets come out together as alone."""
    jobs, others = ([make_job(**row, **common) for row in rows] for _ in range(2))
    results = fit_many(jobs, settings)
    for job, other, result in zip(jobs, others, results, strict=True):
        expected = alone(other, settings)
        assert (result.epochs, result.notes) == (expected.epochs, expected.notes)
        assert result.history.keys() == expected.history.keys()
        for part, losses in expected.history.items():
            np.testing.assert_allclose(result.history[part], losses, rtol=5e-4)
        np.testing.assert_allclose(weights(job), weights(other), atol=1e-4)
        assert not job.module.net.training
    return results


UNLIKE = [{"rows": 100}, {"rows": 97, "seed": 1}, {"rows": 21, "later": 7}, {"rows": 100, "seed": 3}, {"rows": 33}]


@pytest.mark.parametrize(
    "common",
    [
        {},
        {"heads": (Head("value"),), "loss": "huber", "weighted": True},
        {"heads": (Head("peak", "binary"),), "gradient_clip": 0.05, "norm": True},
        {"weight_decay": 3.0, "schedule": "one_cycle"},
    ],
    ids=["mixed", "regression", "binary", "decay"],
)
def test_nets_of_unlike_tables_come_out_as_alone(common: dict) -> None:
    check_same(UNLIKE, **common)


def test_windows_come_out_as_alone() -> None:
    check_same([{"rows": 60}, {"rows": 57, "seed": 2}, {"rows": 44}], heads=(Head("value"),), window=4)


def test_other_features_train_beside() -> None:
    check_same([{"features": 5}, {"features": 7}, {"features": 5, "seed": 2}])


def test_each_stops_in_its_own_time() -> None:
    settings = FitSettings(15, 32, seed=3, patience=2, device="cpu")
    results = check_same([{"seed": 2 * seed} for seed in range(6)], settings, learning_rate=0.1)
    lengths = {len(result.history["train"]) for result in results}
    assert len(lengths) > 1, "or nothing was tested"
    assert all(len(result.history["train"]) in (result.epochs + 2, 15) for result in results)


def test_without_validation_all_epochs_run() -> None:
    jobs, others = ([make_job(seed=seed) for seed in range(2)] for _ in range(2))
    together = fit_many([Job(job.module, job.train) for job in jobs], SETTINGS)
    for job, other, result in zip(jobs, others, together, strict=True):
        assert fit(other.module, other.train, None, SETTINGS).epochs == result.epochs == 6
        assert set(result.history) == {"train"}
        np.testing.assert_allclose(weights(job), weights(other), atol=1e-4)


def test_an_exploding_net_stops_by_itself() -> None:
    def make() -> list[Job]:
        jobs = [make_job(seed=0), make_job(seed=2), make_job(seed=4)]
        with torch.no_grad():
            jobs[1].module.net.heads.weight.fill_(3e38)
        return jobs

    jobs, others = make(), make()
    expected = [alone(job) for job in others]
    results = fit_many(jobs, SETTINGS)
    assert results[1].notes == expected[1].notes
    assert "infinite in epoch 1" in results[1].notes[0]
    assert results[1].history == {}
    assert np.isfinite(weights(jobs[1])).all()
    for kept in (0, 2):
        assert not results[kept].notes
        np.testing.assert_allclose(weights(jobs[kept]), weights(others[kept]), atol=1e-4)


def test_company_changes_the_rounding_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(chosen: list[dict]) -> list[np.ndarray]:
        jobs = [make_job(**row) for row in chosen]
        results = fit_many(jobs, SETTINGS)
        curves = [np.ravel(list(result.history.values())) for result in results]
        return [np.concatenate([curve, weights(job)]) for curve, job in zip(curves, jobs, strict=True)]

    rows = [*UNLIKE, {"rows": 98}, {"rows": 99}, {"rows": 96}]
    whole = run(rows)
    for one, again in zip(whole, run(rows), strict=True):
        np.testing.assert_array_equal(one, again)

    def check(others: list[np.ndarray]) -> None:
        for one, other in zip(whole, others, strict=True):
            np.testing.assert_allclose(other, one, atol=1e-5)

    check(run(rows[::-1])[::-1])
    check([run([row])[0] for row in rows])
    monkeypatch.setattr(program, "_TOGETHER", 2)
    check(run(rows))
    monkeypatch.setattr(program, "_MEMORY", 1)
    check(run(rows))


def test_a_program_is_bounded_by_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    run = program._Program.run
    monkeypatch.setattr(program._Program, "run", lambda self: sizes.append(len(self.jobs)) or run(self))
    jobs = [make_job(seed=2 * seed) for seed in range(5)]
    each = program._bytes_of(jobs[0], 32)
    assert each > jobs[0].train.values.nbytes
    monkeypatch.setattr(program, "_MEMORY", 2 * each)
    fit_many(jobs, FitSettings(1, 32, device="cpu"))
    assert sizes == [2, 2, 1]


def test_global_randomness_stays_and_no_job_is_no_work() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    fit_many([make_job()], SETTINGS)
    assert torch.equal(torch.get_rng_state(), before)
    assert fit_many([], SETTINGS) == []
