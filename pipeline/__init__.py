"""How the pipeline is run, checked, compared and watched. torch, MLflow and DVC are imported when they are needed."""
