"""Models that know of regimes: mixtures and change points."""
