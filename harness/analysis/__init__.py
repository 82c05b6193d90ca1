"""What the results of a run, or of several, say: data without text."""
