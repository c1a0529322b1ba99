from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from CONFIG.errors import IntegrityError
from TRAINING.neural.data import make_generator
from TRAINING.neural.fit import FitSettings, KeepBest, fit
from TRAINING.neural.generative import GANConfig, GANModule, VAEConfig, VAEModule, bounded, rows_only
from TRAINING.neural.modules import Optimisation


def linear_rows(rows: int = 900, seed: int = 0) -> np.ndarray:
    """Twelve features of three causes."""
    random = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(3, 12))
    return (random.normal(size=(rows, 3)) @ loadings + 0.3 * random.normal(size=(rows, 12))).astype(np.float32)


def curved_rows(rows: int = 900, seed: int = 0) -> np.ndarray:
    """Twelve features of two causes, one of which goes round in a circle."""
    random, directions = np.random.default_rng(seed), np.random.default_rng(98).normal(size=(4, 12))
    t = random.uniform(-3, 3, size=(rows, 2))
    causes = np.column_stack([np.sin(2 * t[:, 0]), np.cos(2 * t[:, 0]), t[:, 1], t[:, 1] ** 2 / 3])
    return (causes @ directions + 0.05 * random.normal(size=(rows, 12))).astype(np.float32)


def make_vae(rows: np.ndarray, latent_dim: int, **module) -> VAEModule:
    net = VAEConfig(rows.shape[1], latent_dim, (32, 16)).build()
    net.learn_start(rows, make_generator(0))
    return VAEModule(net, Optimisation(0.003, weight_decay=0.01, gradient_clip=10.0), **module)


def make_gan(rows: np.ndarray, **optimisation) -> GANModule:
    net = GANConfig(rows.shape[1], 8, 8, (32, 32)).build()
    net.learn_start(rows, make_generator(0))
    return GANModule(net, Optimisation(**{"learning_rate": 0.003, **optimisation}), 2)


def components_explain(train: np.ndarray, test: np.ndarray, count: int) -> float:
    found = PCA(count).fit(train)
    lost = ((test - found.inverse_transform(found.transform(test))) ** 2).sum()
    return 1 - lost / ((test - test.mean(0)) ** 2).sum()


def weights(module) -> np.ndarray:
    return torch.cat([value.flatten().double() for value in module.net.state_dict().values()]).numpy()


def test_a_vae_starts_as_principal_components() -> None:
    """Before any step its latents lie along them, with the spread that probabilistic PCA gives."""
    rows = linear_rows()
    net = make_vae(rows, 3).net
    z = net.standardise(torch.from_numpy(rows)).numpy().astype(float)
    found = PCA().fit(z)
    latents = net.encode(rows)
    correlation = np.corrcoef(latents.T, found.transform(z)[:, :3].T)[:3, 3:]
    np.testing.assert_allclose(np.abs(correlation), np.eye(3), atol=1e-3)
    noise, variances = found.explained_variance_[3:].mean(), found.explained_variance_[:3]
    np.testing.assert_allclose(latents.var(axis=0), (variances - noise) / variances, rtol=1e-2)


def test_a_vae_holds_more_than_components_where_rows_are_curved() -> None:
    rows = curved_rows()
    module = make_vae(rows[:600], 2)
    fit(module, rows_only(rows[:600]), rows_only(rows[600:700]), FitSettings(80, 64, patience=80))
    z = module.net.standardise(torch.from_numpy(rows)).numpy()
    assert module.net.explained(rows[700:]) > components_explain(z[:600], z[700:], 2) + 0.08


def test_a_vae_is_as_good_as_components_where_rows_are_linear() -> None:
    rows = linear_rows()
    module = make_vae(rows[:600], 3)
    fit(module, rows_only(rows[:600]), rows_only(rows[600:700]), FitSettings(40, 64, patience=10))
    z = module.net.standardise(torch.from_numpy(rows)).numpy()
    assert module.net.explained(rows[700:]) == pytest.approx(components_explain(z[:600], z[700:], 3), abs=0.01)


def test_the_bound_is_that_of_its_definition() -> None:
    """The loss of one batch against the textbook's formula, row by row and with the same noise."""
    rows = linear_rows(40)
    rows[3, 5] = np.nan
    module = make_vae(rows, 3, beta=0.7, kl_warmup=0.0)
    module.seed(make_generator(4))
    with torch.no_grad():
        loss = float(module.batch_loss(torch.from_numpy(rows), torch.empty(40, 0), None))
        z = module.net.standardise(torch.from_numpy(rows))
        mean, log_variance = module.net.posterior(z)
        noise = torch.randn(mean.shape, generator=make_generator(4))
        made = module.net.decode(mean + (log_variance / 2).exp() * noise)
    there = np.isfinite(rows)
    variance = float(((made - z).numpy() ** 2)[there].mean())
    expected = 0.0
    for row in range(40):
        posterior = torch.distributions.Normal(mean[row], (log_variance[row] / 2).exp())
        prior = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
        density = torch.distributions.Normal(made[row], variance**0.5).log_prob(z[row])
        expected -= float(density[torch.from_numpy(there[row])].sum())
        expected += 0.7 * float(torch.distributions.kl_divergence(posterior, prior).sum())
    assert loss == pytest.approx(expected / 40, rel=1e-4)


def test_beta_rises_over_the_warm_up() -> None:
    rows = linear_rows(50)
    module, seen = make_vae(rows, 2, beta=4.0, kl_warmup=0.5), []
    module._loss = lambda sums, beta: seen.append(beta)
    for module.progress in (0.0, 0.25, 0.5, 1.0):
        module.batch_loss(torch.from_numpy(rows), torch.empty(50, 0), None)
    assert seen == [0.0, 2.0, 4.0, 4.0]


def test_a_strong_pull_makes_latents_collapse() -> None:
    rows = linear_rows(400)
    free, pulled = (make_vae(rows, 3, beta=beta, kl_warmup=0.0) for beta in (1.0, 50.0))
    for module in (free, pulled):
        fit(module, rows_only(rows), None, FitSettings(60, 64))
    assert free.net.encode(rows).var(axis=0).min() > 0.5
    assert pulled.net.encode(rows).var(axis=0).min() < 0.01


def test_made_rows_come_close_to_true_ones() -> None:
    rows = linear_rows()
    module = make_gan(rows[:600])
    result = fit(module, rows_only(rows[:600]), rows_only(rows[600:]), FitSettings(80, 64, patience=80))
    curve = result.history["validation"]
    assert min(curve) < 0.35 * curve[0]
    made = module.net.sample(2000, make_generator(1))
    np.testing.assert_allclose(np.median(made, axis=0), np.median(rows, axis=0), atol=0.5 * rows.std())
    true, like = np.corrcoef(rows.T), np.corrcoef(made.T)
    assert np.corrcoef(true[np.triu_indices(12, 1)], like[np.triu_indices(12, 1)])[0, 1] > 0.9


def test_made_rows_have_units_and_stay_within_the_range() -> None:
    rows = linear_rows(300) * np.geomspace(1e-4, 1e4, 12).astype(np.float32) + 7
    rows[:, 2], rows[::2, 3] = 5.0, np.nan
    net = make_gan(rows).net
    made = net.sample(500, make_generator(0))
    assert (made >= np.nanmin(rows, axis=0)).all()
    assert (made <= np.nanmax(rows, axis=0)).all()
    assert (made[:, 2] == 5).all()
    again = net.standardise(torch.from_numpy(made.astype(np.float32)))
    with torch.no_grad():
        wanted = net(torch.randn(500, 8, generator=make_generator(0)))
    inside = (made > np.nanmin(rows, axis=0)) & (made < np.nanmax(rows, axis=0))
    inside[:, 2] = False
    np.testing.assert_allclose(again.numpy()[inside], wanted.numpy()[inside], atol=1e-2)  # 7 + 1e-4 as float32


def test_the_bound_of_made_rows_is_that_of_true_ones() -> None:
    z = torch.linspace(-50, 50, 101)
    assert (bounded(z).abs() < 3).all()
    assert (bounded(z).diff() > 0).all()


@pytest.mark.parametrize("make", [lambda rows: make_vae(rows, 3), make_gan], ids=["vae", "gan"])
def test_a_killed_training_goes_on_as_if_it_had_not_been(make, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = linear_rows(300)

    def run(name: str, resume: bool = False):
        module = make(rows[:200])
        settings = FitSettings(6, 32, patience=6, folder=tmp_path / name, resume=resume)
        return weights(module), fit(module, rows_only(rows[:200]), rows_only(rows[200:]), settings), weights(module)

    start, expected, whole = run("whole")
    assert not np.array_equal(start, whole)
    report = KeepBest._report

    def killed(self, trainer, epoch, losses):
        report(self, trainer, epoch, losses)
        if epoch == 3:
            raise InterruptedError

    monkeypatch.setattr(KeepBest, "_report", killed)
    with pytest.raises(InterruptedError):
        run("cut")
    monkeypatch.undo()
    _, result, found = run("cut", resume=True)
    assert result.history == expected.history
    np.testing.assert_array_equal(found, whole)
    path = tmp_path / "cut" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="last.ckpt"):
        run("cut", resume=True)


def test_an_exploding_loss_keeps_finite_weights() -> None:
    rows = linear_rows(200)
    module = make_gan(rows, learning_rate=1e30, schedule="constant")
    result = fit(module, rows_only(rows), None, FitSettings(10, 32))
    assert "loss became infinite" in result.notes[0]
    assert np.isfinite(weights(module)).all()


@pytest.mark.parametrize("config", [VAEConfig(4, 3, (8, 4), "mish"), GANConfig(4, 3, 5, (8, 4), "relu")])
def test_the_configuration_goes_through_json(config) -> None:
    again = type(config)(**json.loads(json.dumps(config.as_dict())))
    shapes = [{name: value.shape for name, value in each.build().state_dict().items()} for each in (config, again)]
    assert shapes[0] == shapes[1]
