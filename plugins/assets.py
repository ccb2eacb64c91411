"""What DAGs tell one another: something was published, and whoever reads it may begin."""

from airflow.sdk import Asset, AssetAlias

# A day of the log was published; which shop's, and which day, stands in the event's extra.
LAKE = Asset("vitrine_lake")
# The shop has a newer item table; whoever writes that tells so (POST /api/v2/assets/events).
CATALOGUE = Asset("vitrine_catalogue")
# A retrained model is live; shop and number stand in the event's extra.
RELEASE = Asset("vitrine_release")
# Of a task that may release, and of a dry run or a replay does not.
MAY_RELEASE = AssetAlias("vitrine_may_release")
