"""The sequence models on every symbol: ``barzoo train --phase sequential`` and the options given here.

python TRAINING/EXPERIMENTS/phase3_sequential/train_sequential_models.py --input-dir DIR --models lstm,transformer
"""

from __future__ import annotations

import sys

from TRAINING.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["train", "--phase", "sequential"]
    main()
