"""Training inputs, the training of one cell, and what is measured besides training."""
