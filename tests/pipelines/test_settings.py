"""Places and keys of an installation: from the environment, never shown."""

from pathlib import Path

import pytest

from pipelines.errors import SettingsError
from pipelines.releases.opening import open_store
from pipelines.settings import load_settings
from tests.s3_server import S3, SECRET
from tests.serving.conftest import make_bundle
from tests.serving.test_store import release

KEYS = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": SECRET}


def test_everything_lies_below_home_by_default() -> None:
    places = load_settings({"VITRINE_HOME": "/v"})
    assert (places.store, places.bundle_cache, places.client_options) == ("/v/store", Path("/v/cache"), {})
    assert places.of_shop("toy").store == "/v/store/toy"


def test_a_bucket_takes_its_keys_and_a_folder_none() -> None:
    places = load_settings({"VITRINE_STORE": "s3://shop/stores/", "VITRINE_CACHE": "/fast", **KEYS})
    assert places.client_options == {"endpoint": "http://127.0.0.1:9", "region": "eu-west-1", "access_key_id": "id",
                                     "secret_access_key": SECRET}
    assert places.of_shop("toy").store == "s3://shop/stores/toy"
    assert places.bundle_cache == Path("/fast")
    assert load_settings({"VITRINE_STORE": "/store", **KEYS}).client_options == {}
    with pytest.raises(SettingsError, match="VITRINE_CACHE is set but empty"):
        load_settings({"VITRINE_CACHE": " "})


def test_a_secret_is_in_no_text_of_the_settings() -> None:
    places = load_settings({"VITRINE_STORE": "s3://shop/x", **KEYS})
    told = (repr(places), str(places), places.model_dump_json(), repr(places.model_dump()), repr(places.of_shop("t")))
    assert not any(SECRET in text for text in told)


def test_a_store_opens_with_the_environments_keys(s3: S3, tmp_path: Path) -> None:
    environment = {"VITRINE_HOME": str(tmp_path), "VITRINE_STORE": s3.new_store(), **s3.environment}
    store = open_store(load_settings(environment))
    digest = store.add_bundle(make_bundle(tmp_path))
    live = store.commit(release(None).model_copy(update={"bundle": digest}))
    assert open_store(load_settings(environment)).live() == live
    assert store.bundle_path(digest) == tmp_path / "cache" / digest
