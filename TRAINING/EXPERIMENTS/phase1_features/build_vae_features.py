"""Labeled tables with VAE latents: ``barzoo train --phase features --models vae`` and the options given here.

python TRAINING/EXPERIMENTS/phase1_features/build_vae_features.py --input-dir DIR --output-dir DIR --latent-dim 32
"""

from __future__ import annotations

import sys

from TRAINING.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["train", "--phase", "features", "--models", "vae"]
    main()
