"""OpenTelemetry's variables, by the rules of its specification."""

from __future__ import annotations

import pytest

from volnux.telemetry.formats._otlp_settings import target

pytestmark = pytest.mark.extras
PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture
def setting(monkeypatch):
    """Set variables, by what is behind their prefix."""

    def set_all(**values):
        for name, value in values.items():
            monkeypatch.setenv(PREFIX + name, value)

    return set_all


def urls():
    """Where both signals go."""
    return target("traces").url, target("metrics").url


def test_a_collector_for_all(setting):
    """The paths of the signals are added."""
    setting(ENDPOINT="http://collector:4318")
    assert urls() == ("http://collector:4318/v1/traces", "http://collector:4318/v1/metrics")


def test_addresses_of_their_own(setting):
    """Are taken as they are; one without a path has the root."""
    setting(
        TRACES_ENDPOINT="http://collector:4318",
        METRICS_ENDPOINT="https://collector.example.com/v1/metrics",
    )
    assert urls() == ("http://collector:4318/", "https://collector.example.com:443/v1/metrics")


def test_a_path_before_the_others(setting):
    """With or without a slash at its end, and one signal elsewhere."""
    setting(
        ENDPOINT="http://collector:4318/mycollector/",
        METRICS_ENDPOINT="https://collector.example.com/v1/metrics/",
    )
    assert urls() == (
        "http://collector:4318/mycollector/v1/traces",
        "https://collector.example.com:443/v1/metrics/",
    )


def test_ports_are_those_of_the_scheme(setting):
    """As for any address of the web."""
    setting(ENDPOINT="http://collector")
    assert urls()[0] == "http://collector:80/v1/traces"


def test_an_argument_wins(setting):
    """Over both kinds of variables."""
    setting(ENDPOINT="http://a", TRACES_ENDPOINT="http://b", TIMEOUT="1", HEADERS="a=b")
    found = target("traces", endpoint="localhost", timeout=2.0, headers={"c": "d"})
    assert (found.url, found.timeout) == ("http://localhost:4318/v1/traces", 2.0)
    assert found.headers == {"c": "d"}


def test_an_empty_variable_is_none(setting):
    """By the rule for all of OpenTelemetry's variables."""
    setting(ENDPOINT="", TIMEOUT=" ", HEADERS="", COMPRESSION="")
    found = target("traces")
    assert (found.url, found.timeout, found.headers) == ("http://localhost:4318/v1/traces", 10, {})


def test_headers_are_decoded(setting):
    """Their values are percent-encoded, and their names are in any case."""
    setting(HEADERS="Authorization=Basic%20YTpi%3D, X-Scope-OrgID = tenant%2C1 ,")
    assert target("traces").headers == {"authorization": "Basic YTpi=", "x-scope-orgid": "tenant,1"}


def test_headers_of_one_signal_are_instead_of_the_others(setting):
    """Not beside them."""
    setting(HEADERS="a=1,b=2", TRACES_HEADERS="a=3")
    assert target("traces").headers == {"a": "3"}
    assert target("metrics").headers == {"a": "1", "b": "2"}


def test_a_header_without_a_value(setting):
    """Is left out, and that is said, without a word of it."""
    setting(HEADERS="s3cret,a=b")
    with pytest.warns(match="has an item without =") as told:
        assert target("traces").headers == {"a": "b"}
    assert "s3cret" not in str(told[0].message)


def test_a_header_that_cannot_be_sent(setting):
    """Is an error that names the variable, and not the value."""
    setting(HEADERS="a=s3cret%0d%0ab")
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_HEADERS: a has a value") as caught:
        target("traces")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2500", 2.5), ("0", 86_400), ("-1", 10), ("1s", 10), ("1.5", 10)]
)
def test_a_timeout_is_in_milliseconds(setting, text, seconds):
    """Nought is none at all; what is no number is passed over with a warning."""
    setting(TRACES_TIMEOUT=text)
    if seconds == 10:
        with pytest.warns(match="not a number of milliseconds"):
            assert target("traces").timeout == seconds
    else:
        assert target("traces").timeout == seconds
    assert target("metrics").timeout == 10


def test_compression(setting):
    """None to this machine, else gzip by default; the variable and the argument win in this order."""
    assert not target("traces").is_compressed
    assert target("traces", endpoint="https://otlp.example").is_compressed
    setting(COMPRESSION="gzip", TRACES_COMPRESSION="none")
    assert (target("traces").is_compressed, target("metrics").is_compressed) == (False, True)
    assert target("traces", compression="gzip").is_compressed


def test_a_compression_that_is_none(setting):
    """What is not known is passed over with a warning."""
    setting(COMPRESSION="zstd")
    with pytest.warns(match="neither gzip nor none"):
        assert not target("traces").is_compressed


def test_files_of_tls(setting, tmp_path):
    """Of variables and of arguments, which win."""
    for name in ("ca", "cert", "key", "other"):
        (tmp_path / name).write_text("", "utf-8")
    setting(
        CERTIFICATE=str(tmp_path / "ca"),
        TRACES_CLIENT_CERTIFICATE=str(tmp_path / "cert"),
        TRACES_CLIENT_KEY=str(tmp_path / "key"),
    )
    found = target("traces")
    assert found.verify == str(tmp_path / "ca")
    assert found.certificate == (str(tmp_path / "cert"), str(tmp_path / "key"))
    assert target("metrics").certificate is None
    assert target("metrics", ca_certs=tmp_path / "other").verify == str(tmp_path / "other")
    only = target("metrics", certfile=tmp_path / "cert")
    assert only.certificate == str(tmp_path / "cert")


def test_every_shape_of_a_secret_is_known():
    """A server may repeat a header, its value without the scheme, or the password in it."""
    found = target("traces", headers={"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}).secrets()
    assert found == [
        "Basic dXNlcjpwYXNzd29yZA==",
        "dXNlcjpwYXNzd29yZA==",
        "dXNlcjpwYXNzd29yZA",
        "password",
    ]
    assert target("traces", headers={"x-scope-orgid": "tenant", "a": "b"}).secrets() == []
    odd = target("traces", headers={"Authorization": "Basic not-base64"}).secrets()
    assert odd == ["Basic not-base64", "not-base64"]


def test_secrets_of_variables_do_not_travel_in_the_clear(setting):
    """Not to another machine; to this one they do."""
    setting(ENDPOINT="http://collector:4318", HEADERS="api-key=s3cret")
    with pytest.raises(ValueError, match="api-key would go to http://collector:4318") as caught:
        target("traces")
    assert "s3cret" not in str(caught.value)
    setting(ENDPOINT="http://localhost:4318")
    assert target("traces").headers == {"api-key": "s3cret"}
    assert "s3cret" not in repr(target("traces"))
