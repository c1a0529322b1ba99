from __future__ import annotations

import csv
import json
import logging
import threading

import numpy as np
import pytest
import torch

from CONFIG.errors import ConfigError, IntegrityError
from TRAINING.neural.data import TensorTable, make_generator
from TRAINING.neural.fit import BEST, LAST, FitSettings, KeepBest, fit
from TRAINING.neural.modules import Optimisation, SupervisedModule
from TRAINING.neural.nets import Head, MLPConfig, initialise

HEADS = (Head("y"),)


def make_data(rows: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, 5)).astype(np.float32)
    return X, (X[:, :1] + 0.3 * random.normal(size=(rows, 1)))


def make_module(X: np.ndarray, y: np.ndarray, hidden: tuple[int, ...] = (16,), **optimisation) -> SupervisedModule:
    net = MLPConfig(X.shape[1], HEADS, hidden=hidden, dropout=0.2).build()
    initialise(net, make_generator(0))
    net.learn_scales(X, y)
    return SupervisedModule(net, HEADS, Optimisation(**{"learning_rate": 0.01, **optimisation}))


def run(settings: FitSettings, *, hidden: tuple[int, ...] = (16,), **optimisation):
    X, y = make_data()
    module = make_module(X, y, hidden, **optimisation)
    train, later = TensorTable.of(X[:200], module.net, y[:200]), TensorTable.of(X[200:], module.net, y[200:])
    return module, fit(module, train, later, settings)


def weights(module: SupervisedModule) -> np.ndarray:
    return torch.cat([value.flatten().double() for value in module.net.state_dict().values()]).numpy()


def test_it_learns_and_says_how() -> None:
    module, result = run(FitSettings(30, 32))
    assert set(result.history) == {"train", "validation"}
    assert len(result.history["train"]) == result.epochs == 30
    assert result.history["validation"][-1] < 0.3 * result.history["validation"][0]
    assert not module.net.training


def test_the_same_seed_gives_the_same_weights_and_leaves_global_randomness_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second, other = (weights(run(FitSettings(3, 32, seed=seed))[0]) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_threads_train_as_alone() -> None:
    alone = weights(run(FitSettings(5, 32))[0])
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(weights(run(FitSettings(5, 32))[0]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for one in found:
        np.testing.assert_array_equal(one, alone)


def test_early_stopping_brings_the_best_weights_back() -> None:
    settings = FitSettings(200, 32, patience=3)
    module, result = run(settings, learning_rate=0.05, schedule="constant")
    curve = result.history["validation"]
    assert result.epochs == np.argmin(curve) + 1 < len(curve) == result.epochs + 3
    X, y = make_data()
    later = module.prepare(TensorTable.of(X[200:], module.net, y[200:]))
    with torch.no_grad():
        loss = module.batch_loss(later.values, later.targets, None)
    assert float(loss) == pytest.approx(min(curve), rel=1e-5)


class _Killed(Exception):
    pass


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, expected = run(FitSettings(8, 32, patience=5, folder=tmp_path / "whole"))
    settings = FitSettings(8, 32, patience=5, folder=tmp_path / "cut", resume=True)
    report = KeepBest._report

    def killed(self, trainer, epoch, losses):
        report(self, trainer, epoch, losses)
        if epoch == 4:
            raise _Killed

    monkeypatch.setattr(KeepBest, "_report", killed)
    with pytest.raises(_Killed):
        run(settings)
    monkeypatch.undo()
    module, result = run(settings)
    assert result.history == expected.history
    np.testing.assert_array_equal(weights(module), weights(whole))
    lines = csv.DictReader((tmp_path / "cut" / "metrics.csv").read_text().splitlines())
    assert [float(line["validation_loss"]) for line in lines] == expected.history["validation"]


def test_checkpoints_are_no_pickles_and_are_checked(tmp_path) -> None:
    run(FitSettings(2, 32, folder=tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {LAST, BEST, "metrics.csv"}
    whole = (tmp_path / LAST).read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]):
        (tmp_path / LAST).write_bytes(damaged)
        with pytest.raises(IntegrityError, match="last.ckpt"):
            run(FitSettings(3, 32, folder=tmp_path, resume=True))


def test_a_checkpoint_of_another_training_is_refused(tmp_path) -> None:
    run(FitSettings(2, 32, folder=tmp_path))
    with pytest.raises(IntegrityError, match="another"):
        run(FitSettings(3, 32, folder=tmp_path, resume=True), hidden=(8,))
    with pytest.raises(IntegrityError, match="another"):
        run(FitSettings(3, 32, folder=tmp_path, resume=True), learning_rate=0.5)


def test_an_exploding_loss_stops_and_keeps_finite_weights() -> None:
    module, result = run(FitSettings(20, 32), learning_rate=1e30, schedule="constant")
    assert "loss became infinite in epoch" in result.notes[0]
    assert np.isfinite(weights(module)).all()
    assert len(result.history.get("train", [])) == result.epochs < 20


def test_a_fast_run_writes_nothing(tmp_path) -> None:
    _, result = run(FitSettings(20, 32, folder=tmp_path / "none", fast_dev_run=True))
    assert not (tmp_path / "none").exists()
    assert len(result.history["train"]) == 1


def test_a_missing_gpu_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="device: cuda.*no GPU"):
        run(FitSettings(1, 32, device="cuda"))


def test_bfloat16_comes_close_to_float32() -> None:
    exact, close = (run(FitSettings(10, 32, precision=precision))[1] for precision in ("float32", "bfloat16"))
    np.testing.assert_allclose(close.history["validation"], exact.history["validation"], rtol=0.1)
    assert close.history != exact.history


def test_it_is_silent(capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "barzoo"):
        run(FitSettings(1, 32, progress=True))
    assert capfd.readouterr() == ("", "")


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    run(FitSettings(1, 32, threads=1))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_the_rate_follows_its_schedule(schedule: str) -> None:
    optimisation = Optimisation(learning_rate=2.0, schedule=schedule, warmup=0.25)
    rates = np.array([optimisation.rate(progress) for progress in np.linspace(0, 1, 101)])
    assert rates.max() == rates[25] == 2.0
    if schedule == "constant":
        assert (rates == 2.0).all()
    else:
        assert (np.diff(rates[:26]) > 0).all()
        assert (np.diff(rates[25:]) < 0).all()
        assert rates[0] == (0.0 if schedule == "cosine" else pytest.approx(0.08))
        assert rates[-1] == pytest.approx(0)


def test_the_configuration_of_a_net_goes_through_json() -> None:
    config = MLPConfig(4, (Head("a"), Head("b", "binary", 0.5)), 2, (8, 4), "mish", True, 0.25)
    assert MLPConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_a_large_table_is_standardised_as_it_is_gathered_to_the_same_net(monkeypatch: pytest.MonkeyPatch) -> None:
    once = weights(run(FitSettings(3, 32))[0])
    monkeypatch.setattr("TRAINING.neural.modules._STANDARDISED_ONCE", 0)
    np.testing.assert_array_equal(weights(run(FitSettings(3, 32))[0]), once)


def test_a_short_training_writes_no_checkpoint(tmp_path) -> None:
    run(FitSettings(3, 32, folder=tmp_path / "none", checkpoint_seconds=3600))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("model", ["mlp", "lstm", "vae"])
def test_nets_answer_with_as_many_threads_as_they_train_with(model: str, make_planted, monkeypatch) -> None:
    from CONFIG.config_loader import load_model_config
    from TRAINING.model_fun import trainer_class

    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    linear = torch.nn.functional.linear
    monkeypatch.setattr(
        torch.nn.functional, "linear", lambda *given: seen.append(torch.get_num_threads()) or linear(*given)
    )
    X, y = make_planted(60, "regression")
    trainer = trainer_class(model)(load_model_config(model, variant="smoke", overrides={"epochs": 1}))
    trainer.train(X, y)
    (trainer.transform if model == "vae" else trainer.predict)(X)
    if model != "vae":
        trainer.model.predict(X)
        trainer.get_feature_importance()
    assert set(seen) == {1}
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)
