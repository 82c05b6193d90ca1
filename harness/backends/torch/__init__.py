"""LeNet and friends in PyTorch."""
