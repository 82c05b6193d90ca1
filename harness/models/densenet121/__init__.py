"""DenseNet-121: its card, and its twin for each framework."""
