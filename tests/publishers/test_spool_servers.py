"""kill -9 before a real Elasticsearch: nothing is lost, and nothing is there twice."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.spooling import kill_before_elasticsearch

pytestmark = pytest.mark.extras


def test_nothing_is_lost_or_there_twice(elasticsearch, tmp_path):
    """Ten programs, killed one after the other; `python -m tests.spooling kill 200 URL` does more."""
    prefix = f"volnux-kills-{uuid4().hex[:8]}"
    accepted, found = kill_before_elasticsearch(tmp_path, elasticsearch.url, prefix, 10, seed=3)
    assert found >= accepted > 0
