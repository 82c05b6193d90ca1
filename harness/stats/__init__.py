"""Statistics: intervals, paired tests, ranking and accuracy metrics."""
