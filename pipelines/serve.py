"""The online process of one shop, put together from the installation's settings: `vitrine serve`."""

import gc
import ipaddress
import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from pipelines.errors import NothingLive, SettingsError
from pipelines.releases.opening import one_shop, open_store
from pipelines.serve_processes import Member
from pipelines.settings import Settings
from serving.api.app import create_app
from serving.api.keys import KeyRing
from serving.api.settings import ApiSettings
from serving.erased_watch import ErasedWatch
from serving.experiments.following import Experiments
from serving.housekeeping import Housekeeping
from serving.landing import LandingFolder
from serving.lease_keeper import LeaseKeeper
from serving.live import Live
from serving.live_status import LiveSettings
from serving.rules import NO_RULES, Rules
from serving.service import Service
from serving.sessions.opening import open_sessions
from serving.storefront.router import storefront_router
from serving.storefront.settings import StorefrontSettings
from serving.tried import FOLDER

log = logging.getLogger("vitrine.serve")
_CONNECTIONS = 512  # beyond it the server itself answers 503
_KEEP_ALIVE_S = 15


@dataclass(frozen=True)
class Process:
    """What serves a shop."""

    shop: str
    app: FastAPI
    service: Service
    keys: KeyRing


@contextmanager
def opened(
    places: Settings, shop: str | None, api: ApiSettings, live: LiveSettings, storefront: StorefrontSettings | None,
    rules: Rules = NO_RULES, is_awaited: bool = False, metrics: Path | None = None,
) -> Iterator[Process]:
    """The process of a shop, following its release log; closed on leaving. Without `storefront` it has no pages.

    A shop that `is_awaited` may be without a release yet: the first one is taken up when it comes. `metrics` is the
    folder of counters that several processes share.

    Raises:
        SettingsError: there is no such shop, or the file of keys is none.
    """
    name = one_shop(places, shop, is_awaited)
    keys = KeyRing.load(places.api_keys) if places.api_keys is not None else KeyRing()
    store = open_store(places.of_shop(name))
    with ExitStack() as closing:
        leases = LeaseKeeper(store.leases)
        closing.callback(leases.end)
        sessions = open_sessions(places.sessions_of(name), prefix=f"vitrine:{name}")
        closing.callback(sessions.close)
        erasures = ErasedWatch(store.erasures)
        landing = LandingFolder(places.landing_of(name), drop=erasures.covers)
        closing.enter_context(Housekeeping(sessions, landing, erasures=erasures))
        closing.enter_context(erasures)
        following = closing.enter_context(Live(store, live, renew=leases))
        held = LeaseKeeper(store.leases)
        closing.callback(held.end)
        experiments = closing.enter_context(Experiments(store, live, held))
        service = Service(following, sessions, landing=landing, rules=rules, experiment=experiments.running,
                          erasures=erasures)
        with suppress(NothingLive):
            service.warm()
        pages = [storefront_router(service, storefront)] if storefront is not None else []
        yield Process(name, create_app(service, api, keys, pages, metrics), service, keys)


def serve(
    places: Settings, shop: str | None, host: str, port: int, api: ApiSettings, storefront: StorefrontSettings | None,
    rules: Rules = NO_RULES, is_awaited: bool = False, member: Member | None = None,
) -> None:
    """Serve until the process is told to end; a `member` of several at the port that is given to it.

    Raises:
        SettingsError: see `opened`; or others than this machine could ask without a key.
    """
    import uvicorn

    # What is imported stays. Python's collector would look through all of it again and again, for a tenth of a second
    # each time, in which nothing is answered. A release is opened after this: it goes when another one comes.
    gc.collect()
    gc.freeze()
    live = LiveSettings(tried=places.bundle_cache / FOLDER)
    metrics = member.metrics if member is not None else None
    with opened(places, shop, api, live, storefront, rules, is_awaited, metrics) as process:
        check_host(host, process.keys)
        status = process.service.live.status()
        answers = f"release {status.number}" if status.number is not None else f"no release yet ({status.trouble})"
        log.info("serving %s at http://%s:%d, %s", process.shop, host, port, answers)
        if not process.keys.clients:
            log.info("no keys are configured: whoever can reach this loopback address may ask everything")
        server = uvicorn.Server(uvicorn.Config(
            process.app, host=host, port=port, access_log=False, server_header=False, timeout_keep_alive=_KEEP_ALIVE_S,
            limit_concurrency=_CONNECTIONS, log_level="warning", loop="uvloop", http="httptools",
            timeout_graceful_shutdown=10))
        # Once it has ended its requests, uvicorn raises the signal again, which would end the process before what
        # was laid down is sealed and the leases are given back; one that comes before uvicorn listens counts too.
        signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
        if member is None:
            server.run()
            return
        member.is_ready()
        server.run(sockets=[member.socket()])


def check_host(host: str, keys: KeyRing) -> None:
    """Refuse to serve others than this machine without keys.

    Raises:
        SettingsError: the address is not of the loopback interface, and nobody needs a key.
    """
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback and not keys.clients:
        raise SettingsError(f"--host {host} can be reached by others, and no keys are configured: make some with "
                            "`vitrine keys FILE --name shop`, and set VITRINE_API_KEYS to that file")
