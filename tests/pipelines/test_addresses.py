"""Whatever is said about an address, its password is not."""

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from pipelines.addresses import has_secrets, redacted, scrubbed

PASSWORDS = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=8).filter(
    lambda text: text not in "postgres://shop:db.example:5432/log?token=***")


def test_what_is_left_out_and_what_stays() -> None:
    address = "postgres://shop:s3cret@db.example:5432/log?password=s3cret"
    assert redacted(address) == "postgres://shop@db.example:5432/log"
    assert redacted("data/shop") == "data/shop"
    assert redacted("sqlite:////srv/mlflow.db") == "sqlite:////srv/mlflow.db"
    assert [has_secrets(a) for a in (address, "data/shop", "http://mlflow:5000")] == [True, False, False]


@given(PASSWORDS, PASSWORDS)
def test_no_spelling_of_a_secret_is_told(password: str, token: str) -> None:
    address = f"postgres://shop:{quote(password, safe='')}@db.example:5432/log?token={quote(token, safe='')}"
    said = f"cannot connect to {address} as shop with {password!s}, {quote(password, safe='')} or {token}"
    told = scrubbed(said, address)
    assert password not in told.replace("***", "")
    assert token not in told.replace("***", "")
    assert "db.example" in told
    assert scrubbed(said, "data/shop") == said
