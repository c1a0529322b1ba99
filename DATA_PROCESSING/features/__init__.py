"""Features of one symbol's bars: the table of columns and the kernels that compute them."""
