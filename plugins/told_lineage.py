"""What a task read and wrote, as OpenLineage's provider for Airflow asks for it.

It asks only where Airflow's settings name a transport (AIRFLOW__OPENLINEAGE__TRANSPORT). This module cannot be called
openlineage: Airflow puts its folder before all packages, and the provider would import it in the place of its own.
"""

from typing import TYPE_CHECKING, Any

from pipelines.lineage import DataSet, Lineage

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


class TellsLineage:
    """A task that keeps in `told` what it has read and written, once it has."""

    told: Lineage | None = None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> "OperatorLineage[Any, Any] | None":
        """The data sets of this try; the name is the provider's."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        if self.told is None:
            return None
        return OperatorLineage(inputs=[_dataset(one) for one in self.told.inputs],
                               outputs=[_dataset(one) for one in self.told.outputs])


def _dataset(one: DataSet) -> Any:
    from openlineage.client.event_v2 import Dataset
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

    facets: dict[str, Any] = {}
    if one.version is not None:
        facets["version"] = DatasetVersionDatasetFacet(datasetVersion=one.version)
    return Dataset(namespace=one.namespace, name=one.name, facets=facets)
