"""The page Releases: imported by Airflow's API server alone."""
