"""From a run's folder to a report: Markdown, figures and a CSV file. Imports no framework.

``render`` writes the files, ``terminal`` prints the headline; both read the results alone.
"""
