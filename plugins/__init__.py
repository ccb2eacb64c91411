"""What Airflow loads beside the DAGs."""
