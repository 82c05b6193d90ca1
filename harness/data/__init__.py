"""Data: sources (IDX, NPZ, folders of images, tables, scikit-learn) -> one HDF5 schema.

Nothing here imports a framework; the heavy libraries (h5py, Pillow, scikit-learn, pooch) are
imported only by the modules that use them.
"""
