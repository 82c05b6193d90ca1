"""From what :mod:`harness.analysis` found to pages for people. Imports no framework.

:mod:`harness.report.registry` lists the sections, one module of ``sections`` each;
:mod:`harness.report.markdown` writes the pages and figures, :mod:`harness.report.terminal` prints
the answer.
"""

import os

from harness.paths import cache_dir

# Matplotlib would make a folder in the user's configuration otherwise.
os.environ.setdefault("MPLCONFIGDIR", str(cache_dir() / "matplotlib"))
