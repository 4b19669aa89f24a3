"""Training networks: one network is one task and one MLflow run, many run side by side."""
