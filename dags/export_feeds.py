"""### What the live release recommends, as files

One task, **export**, takes in the customers of a window and asks the live release for each of them: top lists and the
next product for e-mail and ads, similar items, and the catalogue for shopping portals.

**When it runs.** When a retrained model became live (asset `vitrine_release`), and by hand.

**Parameters.** `data`: folder, lake, URL or `connection:NAME` of the source (VITRINE_SOURCE by default). `as_of`:
customers and histories before this moment; left empty, it is the end of the live release's data. `window_days`: only
so much history. `k`, `similar`: lengths of the lists. `currency`, `link`, `image_link`, `brand`, `condition`: of the
product feeds, which are left out without a currency. `spec`: as of the retrain.

**How it ends.** The task returns the folder and its counts. Wrong data and a product feed without what it needs fail
at once; anything else is retried twice.

**Race conditions.** A feed is of the one release that was live when the task began, and says so in each row. The same
release, window and settings are exported once.

**How to resume.** Clear the task.
"""

from airflow.sdk import DAG, Param

from pipelines.settings import load_settings
from plugins import forms
from plugins.assets import RELEASE
from plugins.form_task import FormTask


def text(title: str, description: str) -> Param:
    """A field that may be left empty."""
    return Param(None, type=["null", "string"], title=title, description=description)


PARAMS = {
    "data": forms.source(
        load_settings().source, "Folder, lake, Ibis URL or connection:NAME with events, items and users."),
    "as_of": Param(
        None, type=["null", "string"], format="date-time", title="As of",
        description="Histories before this moment. Empty: the end of the live release's data.",
    ),
    "window_days": forms.window_days(),
    "k": Param(20, type="integer", minimum=1, maximum=1000, title="Items a customer", description="Top-k."),
    "similar": Param(20, type="integer", minimum=0, maximum=1000, title="Similar items", description="0 for none."),
    "currency": text("Currency", "ISO 4217 code of the prices. Empty: no product feeds."),
    "link": text("Link", "Address of a product's page, with {item_id} in it."),
    "image_link": text("Image link", "Address of its picture, likewise."),
    "brand": text("Brand", "Of every product, where the catalogue has no column."),
    "condition": Param("new", enum=["new", "refurbished", "used"], title="Condition", description="Of all products."),
    "spec": forms.specification(),
    "reason": forms.reason("feeds"),
}

with DAG(
    dag_id="export_feeds",
    description="Top lists of every customer, similar items and product feeds of the live release",
    doc_md=__doc__,
    schedule=[RELEASE],
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["vitrine", "operations"],
    default_args=forms.tries(2),
) as dag:
    FormTask(task_id="export", call="pipelines.feeds_run:export", form="pipelines.feeds_run:ExportParams",
             minutes=6 * 60)
