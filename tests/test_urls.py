"""Addresses are shown, and told of in errors, without their secrets."""

import pytest

from benchmark import _urls
from benchmark.api import UserError


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://neph:s3cret@host:5432/db", "postgresql://***@host:5432/db"),
        ("--storage=postgresql://neph:s3c/ret@host/db", "--storage=postgresql://***@host/db"),
        ("postgresql://host/db?user=neph&password=s3cret", "postgresql://host/db?***"),
        ("https://s3cret@host/x?token=s3cret", "https://***@host/x?***"),
        ("postgresql://neph:s3c?ret@127.0.0.1/db", "postgresql://***@127.0.0.1/db"),
        ("postgresql://neph:s3c#r?e/t@127.0.0.1/db?a=b", "postgresql://***@127.0.0.1/db?***"),
        ("https://host/x?user=me@there&token=s3cret", "https://***"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////home/me@here/mlflow.db", "sqlite:////home/me@here/mlflow.db"),
        ("user@host", "user@host"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url, told):
    assert _urls.shown(url) == told


def test_secrets_are_hidden_in_what_others_say():
    url = "postgresql+psycopg://neph:s3cr%40t@host/db?password=other1&sslmode=require"
    said = f"no answer from {url}: neph:s3cr%40t refused, s3cr@t too, password=other1, other1"
    assert not [secret for secret in ("s3cr", "other1") if secret in _urls.hidden(said, url)]


@pytest.mark.parametrize("password", ["s3cr@t", "s3cr?t", "s3cr#t", "s3cr/t"])
def test_a_password_that_others_would_cut_in_two_is_refused_and_hidden(password):
    url = f"postgresql://neph:{password}@host/db"
    with pytest.raises(UserError, match="%2F %3F %23 %40") as caught:
        _urls.check(url)
    assert "s3c" not in str(caught.value)
    said = _urls.hidden(f"no answer from neph:{password}@host: {password}", url)
    assert "s3c" not in said
    assert "host" in said
    for fine in ("postgresql://neph:s3cr%3Ft@host/db?a=b", "sqlite:////home/me@here/x.db", "http://host/a#b"):
        _urls.check(fine)
