"""The composition's doors as people and the shop's site use them: through the proxy, by its names, over TLS."""

import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from stack.rehearsal.composition import Composition


class Doors:
    """Calls through the proxy, whose certificate is checked.

    Args:
        composition: where the proxy's ports are.
        variables: names of the hosts, and the certificate.
    """

    def __init__(self, composition: Composition, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._ports = {"API_HOST": (8443, composition.ports["proxy", 8443]),
                       "AIRFLOW_HOST": (8444, composition.ports["proxy", 8444]),
                       "MLFLOW_HOST": (8444, composition.ports["proxy", 8444])}
        self._trust = ssl.create_default_context(cafile=variables["TLS_CERTIFICATE"])

    def call(self, host: str, path: str, body: Any = None, *, key: str = "", user: tuple[str, str] | None = None,
             content: bytes | None = None) -> httpx.Response:
        """The answer of one of the three hosts.

        Args:
            host: API_HOST, AIRFLOW_HOST or MLFLOW_HOST.
            path: with its slash.
            body: sent as JSON, by POST.
            key: of a client of the API.
            user: name and password.
            content: bytes to send instead of a body.
        """
        name, (port, here) = self._variables[host], self._ports[host]
        headers = {"Host": f"{name}:{port}", **({"Authorization": f"Bearer {key}"} if key else {})}
        with httpx.Client(verify=self._trust, trust_env=False, timeout=120) as client:
            return client.request(
                "GET" if body is None and content is None else "POST", f"https://127.0.0.1:{here}{path}", json=body,
                content=content, headers=headers, auth=user, extensions={"sni_hostname": name})
