"""The serving store's keys from an Airflow connection, where VITRINE_STORE_CONNECTION names one.

The connection is of type aws: login and password are the access key and its secret; `region_name`, `endpoint_url` and
`aws_session_token` stand in its extra, as for Airflow's own S3 hooks. So the keys lie encrypted in Airflow's database
or in its secrets backend, and Airflow masks them in every log.
"""

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from pydantic import SecretStr

from pipelines.errors import SettingsError
from pipelines.settings import Settings

_EXTRA = {"region_name": "region", "endpoint_url": "endpoint", "aws_session_token": "session_token"}


def with_connection(places: Settings) -> Settings:
    """`places` with the store options of its connection; unchanged where it names none.

    Raises:
        SettingsError: Airflow has no such connection, it is of another type, or the store is not on S3.
    """
    name = places.store_connection
    if name is None:
        return places
    if not places.store.startswith("s3://"):
        raise SettingsError(f"VITRINE_STORE_CONNECTION is {name}, and VITRINE_STORE is {places.store}: a connection is "
                            "for an s3:// store; unset it, or set the store's URL")
    try:
        found = Connection.get(name)
    except AirflowNotFoundException as error:
        raise SettingsError(f"VITRINE_STORE_CONNECTION is {name}, and Airflow has no such connection: add it with "
                            f"`airflow connections add {name} --conn-type aws ...`") from error
    if found.conn_type != "aws":
        raise SettingsError(f"connection {name} is of type {found.conn_type}: the store needs one of type aws")
    options = {"access_key_id": found.login, "secret_access_key": found.password}
    options |= {option: found.extra_dejson.get(key) for key, option in _EXTRA.items()}
    secrets = {key: SecretStr(value) for key, value in options.items() if value}
    return places.model_copy(update={"store_options": {**places.store_options, **secrets}})
