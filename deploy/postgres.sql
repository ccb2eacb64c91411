-- Beside Airflow's, which the image makes; run once, with an empty data folder.
CREATE DATABASE mlflow;
