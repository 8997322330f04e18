"""Who is watching: MLflow's mirror of the files and the progress on the screen. Nothing that computes depends on it.

MLflow reports its use to its makers unless these variables are set before it is imported.
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # without a git binary it would print a page
