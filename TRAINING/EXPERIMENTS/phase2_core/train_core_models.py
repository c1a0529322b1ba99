"""The core models on every symbol: ``barzoo train --phase core`` and the options given here.

python TRAINING/EXPERIMENTS/phase2_core/train_core_models.py --input-dir DIR --variant conservative
"""

from __future__ import annotations

import sys

from TRAINING.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["train", "--phase", "core"]
    main()
