"""Airflow's own API server on a port of the loopback, on an empty database that knows the DAGs of a file."""

import sys

import uvicorn
from airflow.api_fastapi.main import app
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.utils.db import initdb

if __name__ == "__main__":
    initdb()
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(dag_folder=sys.argv[2], bundle_name="dags-folder")
    assert not bag.import_errors, bag.import_errors
    sync_bag_to_db(bag, "dags-folder", None)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
