"""The hyperparameter search, an Optuna study that can be stopped at any moment."""
