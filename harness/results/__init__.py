"""A run's folder: what was asked, on which machine, and what came out, cell by cell."""
