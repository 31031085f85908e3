"""What `volnux doctor` does at each kind of back end, once it answers."""

from __future__ import annotations

import json
import os
import time
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from volnux._text import some
from volnux.cli._doctor_target import PORTS
from volnux.cli._doctor_wire import StepError, StepSkippedError
from volnux.telemetry import (
    ElasticsearchPublisher,
    EventMetrics,
    MissingDependencyError,
    OTLPPublisher,
    PublishError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from volnux.cli._doctor_wire import Answer, Wire

Step = tuple[str, "Callable[[], str]"]

#: The name of the record that is written.
EVENT: Final = "volnux.doctor"
_PROTOBUF: Final = "application/x-protobuf"
_KINDS: Final = "|".join(PORTS)
_NAMES: Final = {
    "elasticsearch": "Elasticsearch",
    "prometheus": "metrics for Prometheus",
    "pushgateway": "a Pushgateway",
    "otlp": "OTLP",
}
_OTLP_PATHS: Final = ("/v1/traces", "/v1/metrics", "/otlp")
_LET_IN: Final = (
    "put the user into the address and the password into VOLNUX_DOCTOR_PASSWORD, "
    "or for Elasticsearch a key into VOLNUX_DOCTOR_API_KEY"
)


class Visit:
    """A visit to one back end, step by step.

    Args:
        wire: the way there.
        index_prefix: that of the Elasticsearch publisher in question.

    Attributes:
        kind: what it is, as soon as that is known.
    """

    def __init__(self, wire: Wire, index_prefix: str) -> None:
        self.wire = wire
        self.kind = wire.target.kind
        self._prefix = f"{index_prefix}-doctor"
        self._task = token_hex(8)
        self._index: str | None = None

    def steps(self) -> Iterator[Step]:
        """Give the steps, one after the other: which come last follows from those before."""
        yield "resolve", self.wire.resolve
        yield "connect", self.wire.connect
        if self.wire.target.is_secure:
            yield "tls", self.wire.secure
        if self.kind is None and self.wire.target.path.endswith(_OTLP_PATHS):
            self.kind = "otlp"
        if self.kind != "otlp":  # whose receivers need not answer anything but what is sent to them
            yield "answer", self._answer
        yield from {
            "elasticsearch": [
                ("write", self._write_document),
                ("read", self._read_document),
                ("clean", self._delete_document),
            ],
            "prometheus": [("read", self._read_exposition)],
            "pushgateway": [("write", self._push), ("read", self._pushed), ("clean", self._wipe)],
            "otlp": [("traces", self._send_traces), ("metrics", self._send_metrics)],
        }[self.kind or ""]

    # -- what it is ------------------------------------------------------------------------------

    def _answer(self) -> str:
        if self.wire.target.is_open_to_ears:
            raise StepError("credentials would be sent in the clear", "write https://")
        answer = self._asked("GET", self._path_to_ask())
        if self.kind is None:
            self.kind = _kind_of(answer) or self._kind_by_asking()
        if self.kind is None:
            raise StepError("no back end that is known", f"say what it is: --kind {_KINDS}")
        if self.kind == "elasticsearch" and not _is_elasticsearch(answer):
            raise StepError("what answers is no Elasticsearch", f"is it another? --kind {_KINDS}")
        return _NAMES[self.kind]

    def _path_to_ask(self) -> str:
        path = self.wire.target.path
        if self.kind in ("prometheus", "pushgateway") and not path.endswith("/metrics"):
            return f"{path}/metrics"
        return path

    def _kind_by_asking(self) -> str | None:
        path = self.wire.target.path
        if not path.endswith("/metrics"):
            answer = self.wire.ask("GET", f"{path}/metrics")
            if answer.status == 200 and (kind := _kind_of(answer)):
                return kind
        answer = self.wire.ask("POST", f"{path}/v1/traces", kind=_PROTOBUF)
        is_otlp = answer.headers.get("content-type", "").startswith(_PROTOBUF)
        return "otlp" if is_otlp else None

    def _asked(self, method: str, path: str, body: bytes = b"", kind: str = "text/plain") -> Answer:
        """Ask, and raise a `StepError` where the answer is that one may not, or is elsewhere, or broken."""
        answer = self.wire.ask(method, path, body, kind)
        if answer.status == 401:
            raise StepError("401: it does not know who this is", _LET_IN)
        if 300 <= answer.status < 400 and self.kind is not None:
            raise StepError(
                f"{answer.status}: it sends elsewhere", "give the address that it sends to"
            )
        if answer.status >= 500 or answer.status == 429:
            raise StepError(
                f"{answer.status}: it cannot answer now", "see what the server's log says"
            )
        return answer

    # -- Elasticsearch ---------------------------------------------------------------------------

    def _record(self) -> EventMetrics:
        now = time.time()
        return EventMetrics(
            event_name=EVENT,
            task_id=self._task,
            process_id=os.getpid(),
            start_time=now,
            end_time=now,
            duration=0.0,
        )

    def _write_document(self) -> str:
        target, wire = self.wire.target, self.wire
        account: dict[str, Any] = {}
        if target.user is not None:
            account["basic_auth"] = (target.user, target.password or "")
        elif target.api_key:
            account["api_key"] = target.api_key
        if wire.ca and target.is_secure:
            account["ca_certs"] = wire.ca
        _published(
            lambda: ElasticsearchPublisher(
                target.url, self._prefix, request_timeout=wire.timeout, **account
            ),
            self._record(),
        )
        return f"one document into {self._prefix}-event-*"

    def _read_document(self) -> str:
        query = json.dumps({"query": {"match": {"task_id": self._task}}}).encode()
        path = f"{self.wire.target.path}/{self._prefix}-event-*/_search"
        deadline = time.monotonic() + 1.5 * self.wire.timeout
        while time.monotonic() < deadline:
            answer = self.wire.ask("POST", path, query)
            if answer.status == 403:
                raise StepSkippedError("this account may not read, and need not")
            try:
                hits = json.loads(answer.body)["hits"]["hits"]
            except (ValueError, KeyError, TypeError):
                raise StepError(f"{answer.status}: the search was not answered") from None
            if hits:
                self._index, self._task = hits[0]["_index"], hits[0]["_id"]
                return f"found in {self._index}"
            time.sleep(0.1)
        raise StepError("the document was taken, and is not to be found", "see the server's log")

    def _delete_document(self) -> str:
        index, base = self._index, self.wire.target.path
        if index is None:
            raise StepSkippedError(f"one document stays in {self._prefix}-event-*")
        answer = self.wire.ask("DELETE", f"{base}/{index}/_doc/{self._task}?refresh=true")
        if answer.status != 200:
            raise StepSkippedError(f"{answer.status}: one document stays in {index}")
        count = self.wire.ask("GET", f"{base}/{index}/_count")
        if count.status != 200 or json.loads(count.body).get("count") != 0:
            return "the document is deleted"
        if self.wire.ask("DELETE", f"{base}/{index}").status != 200:
            return "the document is deleted, and its index stays"
        return "the document and its index are deleted"

    # -- Prometheus ------------------------------------------------------------------------------

    def _read_exposition(self) -> str:
        path = self._path_to_ask()
        answer = self._asked("GET", path)
        if answer.status != 200:
            cure = f"is it another path? {self.wire.target.url} was asked for {path}"
            raise StepError(f"{answer.status}: no metrics there", cure)
        try:
            from prometheus_client.parser import text_string_to_metric_families as parse
        except ImportError:
            raise StepSkippedError('to read it, pip install "volnux[prometheus]"') from None
        try:
            families = list(parse(answer.text))
        except ValueError:
            raise StepError(
                "what it serves cannot be read as metrics", "is it another path?"
            ) from None
        ours = sum(family.name.startswith("volnux_") for family in families)
        return f"{some(len(families), 'metric')}, {ours} of them volnux's"

    def _pushed_path(self) -> str:
        return f"{self.wire.target.path}/metrics/job/volnux-doctor/instance/{self._task}"

    def _push(self) -> str:
        body = b"# TYPE volnux_doctor gauge\nvolnux_doctor 1\n"
        answer = self._asked("PUT", self._pushed_path(), body)
        if answer.status >= 300:
            raise StepError(f"{answer.status}: it does not take what is pushed")
        return "one group"

    def _pushed(self) -> str:
        if self._task not in self._asked("GET", self._path_to_ask()).text:
            raise StepError("what was pushed is not there")
        return "it is there"

    def _wipe(self) -> str:
        answer = self._asked("DELETE", self._pushed_path())
        if answer.status >= 300:
            raise StepSkippedError(f"{answer.status}: the group volnux-doctor stays")
        return "the group is deleted"

    # -- OTLP ------------------------------------------------------------------------------------

    def _send_traces(self) -> str:
        self._send("traces")
        return "one span"

    def _send_metrics(self) -> str:
        self._send("metrics")
        return "one point of each metric"

    def _send(self, signal: str) -> None:
        target, wire = self.wire.target, self.wire
        url = target.url.removesuffix("/v1/traces").removesuffix("/v1/metrics")
        headers = wire.credentials() or None
        try:
            _published(
                lambda: OTLPPublisher(
                    url,
                    headers,
                    signals=(signal,),
                    timeout=wire.timeout,
                    ca_certs=wire.ca if target.is_secure else None,
                ),
                self._record(),
            )
        except StepError as fault:
            if fault.detail.startswith("404"):
                raise StepSkippedError(
                    f'404: it takes none; leave "{signal}" out of signals='
                ) from None
            raise


def _published(make: Callable[[], Any], record: EventMetrics) -> None:
    """Make a publisher, and have it publish a record.

    Raises:
        StepError: it cannot be made, or could not publish it.
    """
    try:
        publisher = make()
    except (MissingDependencyError, OSError, TypeError, ValueError) as error:
        raise StepError(str(error)) from None
    try:
        publisher.publish_event_metrics(record)
        publisher.flush(None)
    except PublishError as error:
        why = getattr(publisher, "refusal", None) if error.permanent else None
        detail, _, cure = str(why or error).partition(": give ")
        raise StepError(detail, f"give {cure}" if cure else "") from None
    except Exception as error:  # noqa: BLE001  # of a library, about what was sent
        raise StepError(f"it was not taken ({type(error).__name__})") from None
    finally:
        try:
            publisher.close(0.0)
        except Exception:  # noqa: BLE001, S110  # what was wrong has been said
            pass


def _is_elasticsearch(answer: Answer) -> bool:
    asks_for = answer.headers.get("www-authenticate", "")
    return "x-elastic-product" in answer.headers or "ApiKey" in asks_for


def _kind_of(answer: Answer) -> str | None:
    """Return the kind of what has answered, as far as one answer tells."""
    if _is_elasticsearch(answer):
        return "elasticsearch"
    kind = answer.headers.get("content-type", "")
    if answer.status == 200 and ("version=0.0.4" in kind or "openmetrics" in kind):
        return "pushgateway" if "pushgateway_build_info" in answer.text else "prometheus"
    return None
