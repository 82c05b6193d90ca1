"""LeNet and friends in JAX, with Flax NNX and optax."""
