"""A small all-convolutional network and an importer of CIFAR-10 for pipeline-bench."""
