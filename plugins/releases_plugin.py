"""The page Releases in Airflow's navigation. What it shows is `plugins.releases.app`."""

import asyncio
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/vitrine"


class ReleasesPage:
    """The page as an ASGI application that is built at its first request.

    Every process of Airflow loads plugins, each task's too, and only the API server shows pages.
    """

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: D102  # ASGI's own signature
        if self._app is None:
            self._app = await asyncio.to_thread(_built)
        await self._app(scope, receive, send)


def _built() -> Any:
    from plugins.releases.app import create_app

    return create_app()


class VitrinePlugin(AirflowPlugin):
    """Mounts the page behind Airflow's own sign-in, and puts it into the navigation."""

    name = "vitrine"
    # Airflow reads both as attributes of the class, declared without ClassVar.
    fastapi_apps = [{"name": "Vitrine releases", "app": ReleasesPage(), "url_prefix": PREFIX}]  # noqa: RUF012
    # Without a slash before it: Airflow's pages resolve it against the installation's own path.
    external_views = [{"name": "Releases", "href": f"{PREFIX[1:]}/releases", "destination": "nav",  # noqa: RUF012
                       "url_route": "vitrine-releases", "nav_top_level": True}]
