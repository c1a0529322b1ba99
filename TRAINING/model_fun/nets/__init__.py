"""Neural networks: on rows, on sequences, latent features, fast adaption to a new symbol."""
