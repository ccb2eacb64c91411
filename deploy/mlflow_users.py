"""Give MLflow the user as whom tasks record: `python -m deploy.mlflow_users`, with everything in the environment.

MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD name the user, MLFLOW_AUTH_ADMIN_USERNAME and
MLFLOW_AUTH_ADMIN_PASSWORD who may add one, MLFLOW_TRACKING_URI the server. Run again with another password it sets
that. The user is no administrator: it may change what it made, and read the rest.
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus

USERS = "/api/2.0/mlflow/users"


def main(environment: Mapping[str, str]) -> int:
    """Add the user, or give it its password.

    Raises:
        urllib.error.HTTPError: the administrator's name or password is wrong, or MLflow refuses the user's.
    """
    server = environment["MLFLOW_TRACKING_URI"]
    user = environment["MLFLOW_TRACKING_USERNAME"], environment["MLFLOW_TRACKING_PASSWORD"]
    admin = environment["MLFLOW_AUTH_ADMIN_USERNAME"], environment["MLFLOW_AUTH_ADMIN_PASSWORD"]
    account = {"username": user[0], "password": user[1]}
    if _status(server, user, "GET", "/current") == HTTPStatus.OK:
        print(f"user {user[0]}: as it should be")
    elif _status(server, admin, "GET", f"/get?username={user[0]}") == HTTPStatus.OK:
        _call(server, admin, "PATCH", "/update-password", account)
        print(f"user {user[0]}: has its new password")
    else:
        _call(server, admin, "POST", "/create", account)
        print(f"user {user[0]}: added")
    return 0


def _status(server: str, who: tuple[str, str], method: str, path: str) -> int:
    try:
        return _call(server, who, method, path)
    except urllib.error.HTTPError as error:
        return error.code


def _call(server: str, who: tuple[str, str], method: str, path: str, body: Mapping[str, str] | None = None) -> int:
    token = base64.b64encode(":".join(who).encode()).decode()
    request = urllib.request.Request(
        f"{server}{USERS}{path}", None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Basic {token}", "Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(answer.status)


if __name__ == "__main__":
    sys.exit(main(os.environ))
