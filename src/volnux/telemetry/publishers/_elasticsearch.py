"""Records in Elasticsearch, each exactly once."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from volnux.telemetry._publisher import MetricsPublisher, require
from volnux.telemetry._records import NetworkMetrics
from volnux.telemetry.errors import PublishError
from volnux.telemetry.formats._addresses import address
from volnux.telemetry.formats._elasticsearch import bulk_lines, index_template
from volnux.telemetry.formats._elasticsearch_answers import (
    cause_of,
    reason_of,
    retry_after_of,
    status_of,
    verdicts_of,
)
from volnux.telemetry.formats._together import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Literal

    from volnux.telemetry._publisher import Record, Verdict
    from volnux.telemetry._records import EventMetrics

PORT = 9200
#: Documents in one request, and requests under way at once: as `parallel_bulk` of the client has them.
DOCUMENTS, REQUESTS = 500, 4
#: Seconds until the next try where another answer is to be expected only after somebody has acted.
UNTIL_MENDED = 60.0
#: What is asked of the answer to a bulk request.
_WANTED = "errors,items.*.status,items.*.error"
#: Patterns of templates that come with Elasticsearch: what is written there becomes something else.
_TAKEN = re.compile(r"(metrics|logs|synthetics|traces|profiling)-")
_BAD_IN_NAMES = re.compile(r'[A-Z\\/*?"<>|\s,#:]')


class ElasticsearchPublisher(MetricsPublisher):
    """Writes each record as a document of Elasticsearch, through its bulk interface.

    A document's `_id` follows from its record, and its index from the day (UTC) on which the record
    ended: one that is sent again, after a timeout or a crash, is found there and counts as delivered.
    What a server has no room for just now is sent again, as late as it asks for; what it refuses is
    counted as `rejected`, and keeps no other document waiting.

    Indices are `PREFIX-event-YYYY.MM.DD` and `PREFIX-network-YYYY.MM.DD`. Call `setup_templates()`
    once, with an account that may: it gives the fields the types that the dashboards need. Writing needs
    no more than the privileges `create_doc` and `auto_configure` on these indices.

    Args:
        hosts: one address or several, as "host:port" or URLs. Without a scheme, this machine is spoken
            to by http, and any other by https.
        index_prefix: what the names of the indices begin with; lower-case.
        client: an `Elasticsearch` client of your own instead of `hosts`, with all that it can be told.
            Only its `bulk` is used, and it stays open.
        api_key: the encoded key, or a pair of its id and itself.
        basic_auth: a pair of user and password; those in the URL of a host serve as well.
        ca_certs: a file with the certificates of the authorities to trust; the system's by default.
        mode: "daily" indices, or a "data_stream" for each kind of record, which makes new indices by
            itself, and must have its template before the first record comes.
        service_name: the `service.name` of every document; `OTEL_SERVICE_NAME` by default.
        request_timeout: seconds that a request may take.
        max_request_bytes: what one request may hold; halved where a server says that it is too much.

    Raises:
        MissingDependencyError: the client is not installed: pip install "volnux[elasticsearch]".
        TypeError, ValueError: an argument is none of those above, or credentials would go to another
            machine in the clear.
    """

    batch_size: int = (
        2 * DOCUMENTS * REQUESTS
    )  # so that the next is ready when one has been answered

    def __init__(
        self,
        hosts: str | Sequence[str] | None = None,
        index_prefix: str = "volnux-telemetry",
        *,
        client: Any = None,
        api_key: str | tuple[str, str] | None = None,
        basic_auth: tuple[str, str] | None = None,
        ca_certs: str | os.PathLike[str] | None = None,
        mode: Literal["daily", "data_stream"] = "daily",
        service_name: str | None = None,
        request_timeout: float = 10.0,
        max_request_bytes: int = 8 << 20,
    ) -> None:
        library = require("elasticsearch", "elasticsearch")
        if mode not in ("daily", "data_stream"):
            raise ValueError(f'mode is "daily" or "data_stream", not {mode!r}')
        _check_positive("request_timeout", request_timeout)
        _check_positive("max_request_bytes", max_request_bytes)
        self.index_prefix: str = _checked_prefix(index_prefix)
        self._is_data_stream = mode == "data_stream"
        self.refusal: str | None = None
        self._service = service_name or os.environ.get("OTEL_SERVICE_NAME") or None
        self._timeout = request_timeout
        self._limit = max_request_bytes
        self._library = library
        self._errors = (library.ApiError, library.TransportError)
        self._given = client
        self._hosts: list[str] = []
        self._options: dict[str, Any] = {}
        if client is None:
            self._hosts, self._options = _options(hosts, api_key, basic_auth, ca_certs)
        elif hosts is not None or api_key or basic_auth or ca_certs:
            raise ValueError("a client= of your own knows its hosts and credentials: give it alone")
        # A client must not be used on both sides of a fork, so each process makes its own.
        self._made: tuple[int, Any] | None = None
        self._client()

    def __repr__(self) -> str:
        where = "client=..." if self._given is not None else repr(self._hosts)
        return f"ElasticsearchPublisher({where}, {self.index_prefix!r})"

    # -- set-up ----------------------------------------------------------------------------------

    def setup_templates(self) -> None:
        """Install the index template, or bring it up to date; safe to repeat.

        Needs the cluster privilege `manage_index_templates`. Indices that exist keep their mapping.

        Raises:
            PublishError: the server could not be reached, or refused; the message says why.
        """
        body = index_template(self.index_prefix, is_data_stream=self._is_data_stream)
        try:
            self._client().indices.put_index_template(name=self.index_prefix, **body)
        except self._errors as error:
            raise self._as_publish_error(error) or PublishError(
                f"Elasticsearch refused the template: {reason_of(error)}", permanent=True
            ) from None

    # -- publishing ------------------------------------------------------------------------------

    def publish_event_metrics(self, metrics: EventMetrics) -> None:
        """Write the record of one event."""
        self._publish_one(metrics)

    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        """Write one network operation."""
        self._publish_one(NetworkMetrics.from_dict(metrics))

    def publish_batch(self, records: Sequence[Record]) -> Sequence[Verdict]:
        """Write several records with one request, or as few as their size allows.

        Returns:
            A verdict for each.

        Raises:
            PublishError: none of them could be written.
        """
        client = self._client()
        sent: list[tuple[int, Call[list[Verdict]]]] = []
        for lines in self._requests(records):
            if len(sent) >= REQUESTS:
                sent[-REQUESTS][1].wait(2 * self._timeout)
            call = Call(self._send, client, lines)
            sent.append((len(lines), call))
            call.begin()
        verdicts: list[Verdict] = []
        error: PublishError | None = None
        for count, call in sent:
            try:
                verdicts += call.result(2 * self._timeout)
            except PublishError as outage:
                error = error or outage
                verdicts += ["retry"] * count
            except TimeoutError:  # that of a connection begins anew with every byte that comes
                error = error or PublishError(f"no answer within {2 * self._timeout} s")
                verdicts += ["retry"] * count
                self.close()
        if error is not None and verdicts.count("retry") == len(verdicts):
            raise error
        return verdicts

    def close(self, timeout: float | None = None) -> None:
        """Close the connections; a client of your own stays open."""
        made, self._made = self._made, None
        if made is not None and made[0] == os.getpid():
            made[1].close()

    def _publish_one(self, record: Record) -> None:
        (verdict,) = self.publish_batch([record])
        if verdict == "retry":
            raise PublishError("Elasticsearch has no room for a document just now")
        if verdict == "reject":
            raise PublishError("Elasticsearch refused a document", permanent=True)

    def _requests(self, records: Sequence[Record]) -> Iterator[list[bytes]]:
        """Give the lines of the records, as many at a time as one request should hold."""
        prefix, service, is_stream = self.index_prefix, self._service, self._is_data_stream
        lines: list[bytes] = []
        size = 0
        for record in records:
            line = bulk_lines(record, prefix, service, is_data_stream=is_stream)
            if lines and (size + len(line) > self._limit or len(lines) == DOCUMENTS):
                yield lines
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        yield lines

    def _send(self, client: Any, lines: list[bytes]) -> list[Verdict]:
        body = b"".join(lines)
        try:
            once = client.options(request_timeout=self._timeout, max_retries=0)
            answer = once.bulk(operations=body, filter_path=_WANTED).body
        except self._errors as error:
            if status_of(error) == 413:  # content too large
                return self._halved(client, lines)
            found = self._as_publish_error(error)
            if found is None:
                raise  # what it says is about the records: the one to blame is looked for
            raise found from None  # whose own texts may hold addresses and credentials
        verdicts, refusal = verdicts_of(answer, len(lines))
        if refusal is not None:
            self.refusal = f"(has setup_templates() been called?) {refusal}"
        return verdicts

    def _halved(self, client: Any, lines: list[bytes]) -> list[Verdict]:
        if len(lines) == 1:
            self.refusal = "413: a document is larger than a request may be"
            return ["reject"]
        self._limit = max(1, min(self._limit, sum(map(len, lines))) // 2)
        middle = len(lines) // 2
        return [*self._send(client, lines[:middle]), *self._send(client, lines[middle:])]

    def _client(self) -> Any:
        if self._given is not None:
            return self._given
        if self._made is None or self._made[0] != os.getpid():
            client = self._library.Elasticsearch(self._hosts, **self._options)
            self._made = (os.getpid(), client)
        return self._made[1]

    def _as_publish_error(self, error: Exception) -> PublishError | None:
        """Return what an error of the client says of the server; None for one about what was sent."""
        status = status_of(error)
        if isinstance(error, self._library.UnsupportedProductError):
            return PublishError(
                "what answers is no Elasticsearch; give its own client= if it understands `bulk`",
                retry_after=UNTIL_MENDED,
            )
        if status is None:
            return PublishError(f"no answer: {cause_of(error)}")
        if status == 400 and "media_type_header" in reason_of(error):
            major = self._library.__version__[0]
            return PublishError(
                f"the client {major} does not speak to a server older than {major}: "
                f"pip install 'elasticsearch<{major}'",
                retry_after=UNTIL_MENDED,
            )
        if status in (401, 403):
            return PublishError(
                f"{status}: {reason_of(error)}: give api_key= or basic_auth= of an account that may "
                f"create_doc and auto_configure on {self.index_prefix}-*",
                retry_after=UNTIL_MENDED,
            )
        if status == 429 or not 400 <= status < 500 or status in (404, 405, 408):
            return PublishError(f"{status}: {reason_of(error)}", retry_after=retry_after_of(error))
        return None


def _options(
    hosts: Any, api_key: Any, basic_auth: Any, ca_certs: Any
) -> tuple[list[str], dict[str, Any]]:
    """Return the URLs of the hosts, and what the client is told besides."""
    if isinstance(hosts, str):
        hosts = [hosts]
    if hosts is not None and not hasattr(hosts, "__iter__"):
        raise TypeError(f"hosts must be an address or a list of them, not {hosts!r}")
    found = [address(host, PORT, "hosts") for host in hosts or ()]
    if not found:
        raise ValueError('hosts must name a server, such as hosts=["localhost:9200"]')
    if api_key and basic_auth:
        raise ValueError("give api_key or basic_auth, not both")
    held = {one.credentials for one in found if one.credentials is not None}
    if held and (len(held) > 1 or api_key or basic_auth):
        raise ValueError("give one account for all hosts, in one place")
    basic_auth = basic_auth or (held.pop() if held else None)
    for one in found:
        if one.is_plain and (api_key or basic_auth):
            raise ValueError(
                f"credentials would go to {one.url} in the clear: write https://, or give a client= "
                "of your own"
            )
    options: dict[str, Any] = {"retry_on_timeout": False}
    if api_key:
        options["api_key"] = api_key
    if basic_auth:
        options["basic_auth"] = tuple(basic_auth)
    if ca_certs is not None:
        options["ca_certs"] = os.fspath(ca_certs)
    if not any(one.is_loopback for one in found):
        options["http_compress"] = True
    return [one.url for one in found], options


def _checked_prefix(prefix: object) -> str:
    if not isinstance(prefix, str):
        raise TypeError(f"index_prefix must be a text, not {prefix!r}")
    if not prefix or _BAD_IN_NAMES.search(prefix) or prefix[0] in "-_+." or len(prefix) > 200:
        raise ValueError(
            f"index_prefix cannot begin the name of an index: {prefix!r}; take lower-case letters, "
            "digits and hyphens"
        )
    if _TAKEN.match(f"{prefix}-"):
        taken = prefix.partition("-")[0]
        raise ValueError(
            f"index_prefix {prefix!r} belongs to a template that comes with Elasticsearch "
            f"({taken}-*-*): take another, such as volnux-{prefix}"
        )
    return prefix


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0, not {value!r}")
