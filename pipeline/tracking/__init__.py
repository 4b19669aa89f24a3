"""Everything that touches MLflow's tracking store."""
