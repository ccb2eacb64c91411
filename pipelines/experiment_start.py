"""The start of an experiment, whose releases must be there to be served."""

from contextlib import ExitStack

from pipelines.errors import SettingsError
from serving.experiments.spec import Record, Spec
from serving.leases import process_name
from serving.store import ReleaseStore


def start(store: ReleaseStore, spec: Spec, actor: str, reason: str) -> Record:
    """Start an experiment; its record keeps the bundles of its variants from being cleaned away.

    Raises:
        SettingsError: a variant names a release that there is none of, or whose bundle is gone or on its way.
        ExperimentConflict: another experiment runs.
    """
    known = store.numbers()
    with ExitStack() as leased:
        for variant in spec.variants:
            if variant.release is None:
                continue
            if variant.release not in known:
                has = f"has {known[0]} to {known[-1]}" if known else "is empty"
                raise SettingsError(f"variant {variant.name} names release {variant.release}; the log {has}")
            bundle = store.get(variant.release).bundle
            # A cleaning that comes after the lease sees it, one that came before has left its mark.
            leased.enter_context(store.leases.held(bundle, f"{actor}, {process_name()}, starting an experiment"))
            if store.leases.is_condemned(bundle) or not store.shelf.holds(bundle):
                raise SettingsError(f"variant {variant.name}: bundle {bundle[:12]} of release {variant.release} was "
                                    "cleaned away; `vitrine releases` shows which are there")
        return store.experiments.start(spec, actor, reason)
