"""LeNet-5: its card, and its twin for each framework."""
