"""Sources of images and labels, brought to one HDF5 schema that every framework reads."""
