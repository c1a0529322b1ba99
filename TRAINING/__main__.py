"""``python -m TRAINING`` is the ``barzoo`` command."""

from TRAINING.cli import main

if __name__ == "__main__":
    main()
