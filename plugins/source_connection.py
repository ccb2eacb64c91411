"""A shop's database from an Airflow connection, so that its password stands in no form, conf or variable.

`connection:ID` in place of a URL takes the address of Airflow's connection ID, which lies encrypted in Airflow's
database or in its secrets backend.
"""

from urllib.parse import quote

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from pipelines.errors import SettingsError

PREFIX = "connection:"


def source_of(data: str) -> str:
    """The folder or URL that `data` means.

    Raises:
        SettingsError: it names a connection that Airflow does not have.
    """
    if not data.startswith(PREFIX):
        return data
    name = data.removeprefix(PREFIX)
    try:
        found = Connection.get(name)
    except AirflowNotFoundException as error:
        raise SettingsError(f"data is {data}, and Airflow has no connection {name}: add it with `airflow connections "
                            f"add {name} --conn-type postgres ...`") from error
    user = quote(found.login or "", safe="") + (f":{quote(found.password, safe='')}" if found.password else "")
    port = f":{found.port}" if found.port else ""
    return f"{found.conn_type}://{user}{'@' if user else ''}{found.host or ''}{port}/{found.schema or ''}"
