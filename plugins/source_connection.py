"""A shop's database by the name of an Airflow connection: `connection:NAME` in the place of a URL.

So the password lies encrypted in Airflow's database or in its secrets backend, and in no form, contract or log. The
connection's type is the scheme of the Ibis URL (postgres, mysql, ...), its schema the database, its extra the query.
"""

from urllib.parse import quote, urlencode

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from pipelines.errors import SettingsError

PREFIX = "connection:"


def source_of(source: str) -> str:
    """The folder or URL that `source` means.

    Raises:
        SettingsError: Airflow has no connection of this name, or it names no database.
    """
    if not source.startswith(PREFIX):
        return source
    name = source.removeprefix(PREFIX)
    try:
        found = Connection.get(name)
    except AirflowNotFoundException as error:
        raise SettingsError(f"data is {source}, and Airflow has no connection {name}: add it with "
                            f"`airflow connections add {name} --conn-type postgres ...`") from error
    if not found.schema:
        raise SettingsError(f"connection {name} names no database: give it as the connection's schema")
    user = quote(found.login or "", safe="")
    user += f":{quote(found.password, safe='')}" if found.password else ""
    place = (found.host or "") + (f":{found.port}" if found.port else "")
    query = urlencode(found.extra_dejson, safe="/")
    scheme = (found.conn_type or "").replace("_", "-")
    return f"{scheme}://{user}{'@' if user else ''}{place}/{found.schema}{'?' if query else ''}{query}"
