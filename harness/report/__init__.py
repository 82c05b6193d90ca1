"""From what :mod:`harness.analysis` found to pages for people. Imports no framework.

:mod:`harness.report.registry` lists the sections, one module of ``sections`` each;
:mod:`harness.report.markdown` writes the pages and figures, :mod:`harness.report.terminal` prints
the answer.
"""
