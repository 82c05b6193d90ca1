"""ResNet-18: its card, and its twin for each framework."""
