"""Fixtures of the tests that start services."""

from tests.stack.airflow_of_one_dag import installation

__all__ = ["installation"]
