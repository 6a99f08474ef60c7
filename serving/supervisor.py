"""`python -m serinus.serving.supervisor`: BentoML's own command line, ended by the kernel if its parent dies."""

from __future__ import annotations

import os
import runpy
import sys

from serinus.serving.processes import die_with_parent

if __name__ == "__main__":
    die_with_parent()
    os.environ["SERINUS_SPAWNER"] = str(os.getpid())  # of the workers
    sys.argv[0] = "bentoml"
    runpy.run_module("bentoml", run_name="__main__", alter_sys=True)
