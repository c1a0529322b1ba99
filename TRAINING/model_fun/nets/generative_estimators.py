"""scikit-learn transformers over `TRAINING.neural.generative`: the VAE and the GAN."""

from __future__ import annotations

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from TRAINING.model_fun.estimators import TableEstimator, seed_of
from TRAINING.model_fun.nets.estimators import optimisation_of, settings_of


class Generative(TransformerMixin, TableEstimator):
    """What the two share: rows in, latents out; a subclass makes the net and the module that trains it.

    Parameters
    ----------
    latent_dim : int
        Latents.
    hidden : sequence of int
        Width of each layer.
    activation : str
        ``gelu``, ``mish``, ``relu`` or ``silu``.
    epochs, batch_size, early_stopping_rounds, random_state : int
        Early stopping needs validation rows in `fit`.
    learning_rate, weight_decay, schedule, warmup : float or str
        See `TRAINING.neural.modules.Optimisation`.
    device, precision, n_jobs : str, str, int
        See `TRAINING.neural.fit.FitSettings`.
    """

    folder = None  # where `fit` leaves checkpoints and goes on from them

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X, y=None, X_val=None):
        """Fit to rows, (n, features) with NaN where missing; ``X_val`` are rows for early stopping."""
        from TRAINING.neural.data import make_generator
        from TRAINING.neural.fit import fit
        from TRAINING.neural.generative import rows_only
        from TRAINING.neural.threads import limited_threads

        X = self._validate(X, ensure_min_samples=2)
        seed = seed_of(self.random_state)
        with limited_threads(self.n_jobs):
            self.shape_ = self._shape(X.shape[1])
            self.net_ = self.shape_.build()
            self.net_.learn_start(X, make_generator(seed))
            later = None if X_val is None else rows_only(np.asarray(X_val))
            self.result_ = fit(self._module(self.net_), rows_only(X), later, settings_of(self, seed))
        self._n_features_out = self.latent_dim
        return self

    def transform(self, X) -> np.ndarray:
        """(n, latent_dim) float64."""
        from TRAINING.neural.threads import limited_threads

        X = self._validate_later(X)
        with limited_threads(self.n_jobs):
            return self.net_.encode(X)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """``latent_0``, ``latent_1``, ..."""
        check_is_fitted(self)
        return np.array([f"latent_{number}" for number in range(self.latent_dim)], dtype=object)


class VAETransformer(Generative):
    """A variational autoencoder; latents are the means of their posterior.

    Parameters
    ----------
    beta, kl_warmup : float
        See `TRAINING.neural.generative.VAEModule`.
    gradient_clip : float
        Longest gradient; 0 = any.
    **shared
        As of `Generative`.
    """

    def __init__(
        self,
        latent_dim=16,
        hidden=(128, 64),
        activation="silu",
        beta=1.0,
        kl_warmup=0.1,
        epochs=100,
        batch_size=256,
        learning_rate=0.001,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.1,
        gradient_clip=10.0,
        early_stopping_rounds=16,
        device="auto",
        precision="auto",
        n_jobs=1,
        random_state=0,
    ) -> None:
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.activation = activation
        self.beta = beta
        self.kl_warmup = kl_warmup
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.gradient_clip = gradient_clip
        self.early_stopping_rounds = early_stopping_rounds
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _shape(self, features: int):
        from TRAINING.neural.generative import VAEConfig

        return VAEConfig(features, self.latent_dim, tuple(self.hidden), self.activation)

    def _module(self, net):
        from TRAINING.neural.generative import VAEModule

        return VAEModule(net, optimisation_of(self), self.beta, self.kl_warmup)


class GANTransformer(Generative):
    """A generative adversarial network; latents are what the last layer of the critic sees in a row.

    Parameters
    ----------
    noise_dim : int
        Random numbers that a row is made from.
    critic_steps : int
        Steps of the critic to one of the generator.
    **shared
        As of `Generative`.
    """

    def __init__(
        self,
        latent_dim=16,
        noise_dim=32,
        hidden=(128, 128),
        activation="silu",
        critic_steps=3,
        epochs=300,
        batch_size=128,
        learning_rate=0.001,
        weight_decay=0.0,
        schedule="cosine",
        warmup=0.0,
        early_stopping_rounds=60,
        device="auto",
        precision="float32",
        n_jobs=1,
        random_state=0,
    ) -> None:
        self.latent_dim = latent_dim
        self.noise_dim = noise_dim
        self.hidden = hidden
        self.activation = activation
        self.critic_steps = critic_steps
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.early_stopping_rounds = early_stopping_rounds
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, features) made rows in the features' units."""
        from TRAINING.neural.data import make_generator

        check_is_fitted(self)
        return self.net_.sample(count, make_generator(seed))

    def _shape(self, features: int):
        from TRAINING.neural.generative import GANConfig

        return GANConfig(features, self.latent_dim, self.noise_dim, tuple(self.hidden), self.activation)

    def _module(self, net):
        from TRAINING.neural.generative import GANModule

        return GANModule(net, optimisation_of(self), self.critic_steps)
