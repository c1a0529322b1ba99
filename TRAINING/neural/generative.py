"""Nets that learn rows rather than targets: the VAE, whose latents are features, and the GAN, which makes rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from TRAINING.neural.data import TensorTable, make_generator
from TRAINING.neural.modules import BlockModule, Optimisation
from TRAINING.neural.nets import MLP, Standardise, as_tensor, draw_layers, in_parts

_COMPONENT_ROWS = 10_000  # rows that principal components are taken from
_DIRECTIONS = 128  # along which the sliced Wasserstein distance is measured
_PENALTY = 10.0  # of WGAN-GP
_AVERAGED = 0.99  # share of the generator's average that one step keeps


def rows_only(rows: np.ndarray) -> TensorTable:
    """A table without targets, (n, features) with NaN where missing."""
    return TensorTable(as_tensor(rows), torch.empty(len(rows), 0))


@dataclass(frozen=True)
class VAEConfig:
    """What a VAE is made of; `as_dict` and the constructor carry it through JSON.

    Attributes
    ----------
    features, latent_dim : int
    hidden : sequence of int
        Width of each layer of the encoder; the decoder has them the other way round.
    activation : str
    """

    features: int
    latent_dim: int = 16
    hidden: Sequence[int] = (128, 64)
    activation: str = "silu"

    def as_dict(self) -> dict:
        """Plain values."""
        return asdict(self)

    def build(self) -> VAE:
        """The net, its weights not set: `VAE.learn_start` sets them, or an artifact brings them."""
        return VAE(self)


class VAE(nn.Module):
    """A variational autoencoder (Kingma and Welling 2014, "Auto-Encoding Variational Bayes") of standardised features.

    Encoder and decoder are each a linear map plus an MLP. The linear maps start as probabilistic PCA (Tipping and
    Bishop 1999), which is the best VAE without an MLP (Lucas et al. 2019), and the MLPs at 0: a small table need not
    find again what is linear.

    Shapes: (n, features) with NaN -> mean and log variance of the latents, (n, latent_dim) each.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.standardise = Standardise(config.features)
        self.encoder = MLP(config.features, config.hidden, config.activation, False, 0.0)
        self.linear_mean = skip_init(nn.Linear, config.features, config.latent_dim)
        self.mean = skip_init(nn.Linear, config.hidden[-1], config.latent_dim)
        self.log_variance = skip_init(nn.Linear, config.hidden[-1], config.latent_dim)
        self.decoder = MLP(config.latent_dim, config.hidden[::-1], config.activation, False, 0.0)
        self.linear_output = skip_init(nn.Linear, config.latent_dim, config.features)
        self.output = skip_init(nn.Linear, config.hidden[0], config.features)

    def learn_start(self, rows: np.ndarray, generator: torch.Generator) -> None:
        """Draw the layers, and take scales and principal components from training rows, (n, features)."""
        self.standardise.learn(rows)
        draw_layers(self, generator)
        for layer in (self.mean, self.log_variance, self.output):
            nn.init.zeros_(layer.weight)
        with torch.no_grad():
            sample = self.standardise(as_tensor(rows[:: -(-len(rows) // _COMPONENT_ROWS)])).double()
            centre = sample.mean(0)
            variances, directions = torch.linalg.eigh((sample - centre).T @ (sample - centre) / len(sample))
            variances, directions = variances.flip(0).clamp_min(1e-6), directions.flip(1)
            largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
            directions = directions * largest.sign()  # else the sign of a latent is the library's whim
            kept = min(len(self.linear_mean.bias), len(variances))
            variance, rest = variances[:kept], variances[kept:]
            noise = min(float(rest.mean()) if len(rest) else math.inf, 0.99 * float(variance[-1]))
            spread = (variance - noise).sqrt()
            self.linear_mean.weight.zero_()[:kept] = (directions[:, :kept] * spread / variance).T
            self.linear_mean.bias.copy_(-self.linear_mean.weight @ centre.float())
            self.linear_output.weight.zero_()[:, :kept] = directions[:, :kept] * spread
            self.linear_output.bias.copy_(centre)
            self.log_variance.bias[:kept] = (noise / variance).log()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.posterior(self.standardise(x))

    def posterior(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(n, features) standardised -> mean and log variance of the latents."""
        hidden = self.encoder(z)
        return self.linear_mean(z) + self.mean(hidden), self.log_variance(hidden).clamp(-20, 5)

    def decode(self, latents: Tensor) -> Tensor:
        """(n, latent_dim) -> (n, features) standardised."""
        return self.linear_output(latents) + self.output(self.decoder(latents))

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """(n, features) with NaN -> (n, latent_dim), posterior means; a row gives the same alone as in any batch."""
        return in_parts(lambda part: self(part)[0], rows)

    def explained(self, rows: np.ndarray) -> float:
        """Share of the standardised features' variance that comes back from the latents; missing ones are left out."""
        with torch.inference_mode():
            z = self.standardise(as_tensor(rows))
            there = torch.from_numpy(~np.isnan(rows))
            centre = (z * there).sum(0) / there.sum(0).clamp_min(1)
            total = float((((z - centre) ** 2) * there).sum())
            lost = float((((z - self.decode(self.posterior(z)[0])) ** 2) * there).sum())
        return 1 - lost / total if total > 0 else math.nan


class VAEModule(BlockModule):
    """Learns a VAE by the evidence lower bound, in nats per row.

    The variance of what is not reconstructed is taken from each batch, as its mean squared error (the sigma-VAE, Rybkin
    et al. 2021): so ``beta`` need not make up for a variance that was guessed. Missing values do not count.

    Parameters
    ----------
    net : VAE
    optimisation : Optimisation
    beta : float
        What the divergence of the latents from a standard normal counts (Higgins et al. 2017).
    kl_warmup : float
        Share of all steps in which ``beta`` rises from 0 (Bowman et al. 2016).
    """

    def __init__(self, net: VAE, optimisation: Optimisation, beta: float = 1.0, kl_warmup: float = 0.1) -> None:
        super().__init__(net, optimisation)
        self.beta, self.kl_warmup = beta, kl_warmup
        self._noise: torch.Generator | None = None

    def seed(self, generator: torch.Generator | None) -> None:
        self._noise = generator

    def _sums(self, x: Tensor) -> Tensor:
        """Squared errors, values, divergence and rows, summed."""
        z = self.net.standardise(x)
        mean, log_variance = self.net.posterior(z)
        noise = torch.randn(mean.shape, generator=self._noise, device=mean.device)
        there = ~x.isnan()
        errors = (self.net.decode(mean + (log_variance / 2).exp() * noise) - z).square() * there
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
        rows = errors.new_tensor(float(len(x)))
        return torch.stack([errors.sum(), there.sum().to(errors.dtype), divergence.sum(), rows])

    def _loss(self, sums: Tensor, beta: float) -> Tensor:
        errors, values, divergence, rows = sums
        variance = (errors / values.clamp_min(1)).clamp_min(1e-6)
        return (values * ((2 * math.pi * variance).log() + 1) / 2 + beta * divergence) / rows

    def batch_loss(self, x: Tensor, targets: Tensor, weight: Tensor | None) -> Tensor:
        risen = min(1.0, self.progress / self.kl_warmup) if self.kl_warmup else 1.0
        return self._loss(self._sums(x), self.beta * risen)

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self._noise = make_generator(0, device=self.device)  # the same in each epoch: only the net changes

    def validation_step(self, block: tuple, index: int) -> None:
        self._validated.append(self._sums(block[0]))

    def validation_loss(self) -> float:
        """Loss of the validation rows after the epoch, with ``beta`` in full."""
        return float(self._loss(torch.stack(self._validated).sum(0), self.beta))


@dataclass(frozen=True)
class GANConfig:
    """What a GAN is made of; `as_dict` and the constructor carry it through JSON.

    Attributes
    ----------
    features : int
    latent_dim : int
        Width of the critic's last layer, whose values are the latents.
    noise_dim : int
        Random numbers that a row is made from.
    hidden : sequence of int
        Width of each layer of generator and critic.
    activation : str
    """

    features: int
    latent_dim: int = 16
    noise_dim: int = 32
    hidden: Sequence[int] = (128, 128)
    activation: str = "silu"

    def as_dict(self) -> dict:
        """Plain values."""
        return asdict(self)

    def build(self) -> GAN:
        """The net, its weights not set: `GAN.learn_start` sets them, or an artifact brings them."""
        return GAN(self)


class GAN(nn.Module):
    """A generator of rows, and a critic that tells them from true ones.

    Rows are compared standardised and bounded, see `Standardise`; made rows stay within the range of the training rows.

    Shapes: `forward` (n, noise_dim) -> (n, features) as `Standardise` gives them; `score` takes those to (n,).
    """

    def __init__(self, config: GANConfig) -> None:
        super().__init__()
        self.noise_dim = config.noise_dim
        self.standardise = Standardise(config.features)
        body = MLP(config.noise_dim, config.hidden, config.activation, False, 0.0)
        self.generator = nn.Sequential(body, skip_init(nn.Linear, body.outputs, config.features))
        self.critic = MLP(config.features, (*config.hidden, config.latent_dim), config.activation, False, 0.0)
        self.verdict = skip_init(nn.Linear, config.latent_dim, 1)
        self.register_buffer("low", torch.zeros(config.features))
        self.register_buffer("high", torch.zeros(config.features))

    def learn_start(self, rows: np.ndarray, generator: torch.Generator) -> None:
        """Draw the layers, and take scales and ranges from training rows, (n, features)."""
        self.standardise.learn(rows)
        draw_layers(self, generator)
        present = np.isfinite(rows)
        for bound, reduce, nothing in ((self.low, np.min, np.inf), (self.high, np.max, -np.inf)):
            values = reduce(np.where(present, rows, nothing), axis=0)
            bound.copy_(torch.from_numpy(np.where(present.any(axis=0), values, 0.0)))

    def forward(self, noise: Tensor) -> Tensor:
        return bounded(self.generator(noise))

    def score(self, z: Tensor) -> Tensor:
        """(n, features) standardised -> (n,) higher for what looks true."""
        return self.verdict(self.critic(z))[:, 0]

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """(n, features) with NaN -> (n, latent_dim), the critic's last layer."""
        return in_parts(lambda part: self.critic(self.standardise(part)), rows)

    @torch.inference_mode()
    def sample(self, count: int, generator: torch.Generator) -> np.ndarray:
        """(count, features) made rows in the features' units, independent of each other; none is missing."""
        z = self.generator(torch.randn(count, self.noise_dim, generator=generator))
        scale, shift = self.standardise.scale, self.standardise.shift
        rows = torch.where(scale > 0, (z - shift) / scale.clamp_min(1e-30), 0.0)
        return rows.clamp(self.low, self.high).double().numpy()


def bounded(z: Tensor) -> Tensor:
    """As `Standardise` bounds: within (-3, 3)."""
    return z * torch.rsqrt(1 + z.square() / 9)


class GANModule(BlockModule):
    """Learns a Wasserstein GAN with a gradient penalty (WGAN-GP, Gulrajani et al. 2017).

    The generator that is kept is the average over its steps (Yazici et al. 2019), for the last one circles around it.
    Validation rows are compared with made ones by the sliced Wasserstein distance (Bonneel et al. 2015), since the
    critic's own loss cannot be compared between epochs. A missing value counts as the median.

    Parameters
    ----------
    net : GAN
    optimisation : Optimisation
        ``weight_decay`` is of the critic and the generator.
    critic_steps : int
        Steps of the critic to one of the generator.
    """

    def __init__(self, net: GAN, optimisation: Optimisation, critic_steps: int = 5) -> None:
        super().__init__(net, optimisation)
        self.critic_steps = critic_steps
        self.generator = deepcopy(net.generator)
        self.net.generator.requires_grad_(False)
        self._noise: torch.Generator | None = None

    def seed(self, generator: torch.Generator | None) -> None:
        self._noise = generator

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        critic = [*self.net.critic.parameters(), *self.net.verdict.parameters()]
        settings = {
            "lr": self.optimisation.learning_rate,
            "betas": (0.0, 0.9),
            "weight_decay": self.optimisation.weight_decay,
        }
        return [torch.optim.AdamW(group, **settings) for group in (critic, list(self.generator.parameters()))]

    def _make(self, count: int) -> Tensor:
        noise = torch.randn(count, self.net.noise_dim, generator=self._noise, device=self.device)
        return bounded(self.generator(noise))

    def training_step(self, block: tuple, index: int) -> None:
        rows, batches, (first, total) = block[0], *block[-2:]
        wrapped = self.optimizers()
        critic, generator = (each.optimizer for each in wrapped)
        losses = []
        for i, x in enumerate(rows.tensor_split(batches)):
            rate = self.optimisation.rate((first + i) / total)
            for group in (*critic.param_groups, *generator.param_groups):
                group["lr"] = rate
            true = self.net.standardise(x)
            with torch.no_grad():
                made = self._make(len(x))
            critic.zero_grad(set_to_none=True)
            distance = self.net.score(true).mean() - self.net.score(made).mean()
            (_PENALTY * self._penalty(true, made) - distance).backward()
            # Lightning counts the last step of a block.
            (wrapped[0] if i == batches - 1 else critic).step()
            losses.append(distance.detach())
            if (first + i) % self.critic_steps == self.critic_steps - 1:
                self._improve_generator(generator, len(x))
        self._losses += torch.stack(losses).tolist()

    def _penalty(self, true: Tensor, made: Tensor) -> Tensor:
        """How far the critic's slope between true and made rows is from 1."""
        share = torch.rand(len(true), 1, generator=self._noise, device=true.device)
        between = (share * true + (1 - share) * made).requires_grad_()
        (slope,) = torch.autograd.grad(self.net.score(between).sum(), between, create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean()

    def _improve_generator(self, optimizer: torch.optim.Optimizer, count: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        (-self.net.score(self._make(count)).mean()).backward()
        optimizer.step()
        with torch.no_grad():
            for kept, new in zip(self.net.generator.parameters(), self.generator.parameters(), strict=True):
                kept.lerp_(new, 1 - _AVERAGED)

    def validation_step(self, block: tuple, index: int) -> None:
        self._validated.append(self.net.standardise(block[0]))

    def validation_loss(self) -> float:
        """Sliced Wasserstein distance of as many made rows to the validation rows, in standardised units."""
        true, random = torch.cat(self._validated), make_generator(0, device=self.device)
        with torch.no_grad():
            made = self.net(torch.randn(len(true), self.net.noise_dim, generator=random, device=self.device))
            directions = torch.randn(true.shape[1], _DIRECTIONS, generator=random, device=self.device)
            directions /= directions.norm(dim=0)
            return float(((true @ directions).sort(0)[0] - (made @ directions).sort(0)[0]).abs().mean())
