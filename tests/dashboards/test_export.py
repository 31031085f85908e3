"""`volnux dashboards export`: what is shipped becomes files, and nothing of the user's is lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.dashboards.files import EXAMPLES, KIBANA, ROOT, generated
from volnux.cli import main

pytestmark = pytest.mark.extras
NAMES = ["prometheus_dashboard.json", "elasticsearch_dashboard.ndjson", "alerts.rules.yml"]
BAD = ["", "Pipeline", "a/b", 'a"b', "a b", "a,b", "a*", "-a", "_a", ".a", "a\x01", "x" * 201]


@pytest.fixture
def export(tmp_path, monkeypatch, capsys):
    """Runs the command in a folder; gives what it wrote out, or its complaint."""
    monkeypatch.chdir(tmp_path)

    def run(*words, status=0):
        assert main(["dashboards", "export", *words]) == status
        written = capsys.readouterr()
        if status:
            assert written.out == ""
            (complaint,) = written.err.splitlines()
            return complaint
        assert written.err == ""
        return written.out

    return run


def there(folder):
    """The names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


class TestFiles:
    """What is written."""

    def test_are_those_of_the_examples(self, export, tmp_path):
        """All of them, where one is, as they are."""
        export()
        assert there(tmp_path) == sorted(NAMES)
        for name in NAMES:
            assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()

    @pytest.mark.parametrize(
        ("option", "name"), list(zip(["--grafana", "--kibana", "--alerts"], NAMES, strict=True))
    )
    def test_are_those_asked_for(self, export, tmp_path, option, name):
        """One by its option, and the line says where it is and what takes it."""
        said = export(option)
        assert there(tmp_path) == [name]
        assert re.fullmatch(rf"\S*{re.escape(name)}  \((Grafana|Kibana|Prometheus): .+\)\n", said)

    def test_are_several_of_them(self, export, tmp_path):
        """Options add up."""
        export("--grafana", "--alerts")
        assert there(tmp_path) == sorted([NAMES[0], NAMES[2]])

    def test_go_into_a_folder(self, export, tmp_path):
        """Which is made, with those above it."""
        export("deep/er")
        assert there(tmp_path / "deep" / "er") == sorted(NAMES)

    def test_are_for_the_prefix(self, export, tmp_path):
        """Kibana then looks at the indices of that prefix, and the dashboard is one of its own."""
        export("--index-prefix", "pipeline-metrics")
        written = (tmp_path / KIBANA.name).read_bytes()
        assert written == generated(KIBANA.name, "pipeline-metrics")
        assert b"volnux-telemetry" not in written
        assert (tmp_path / NAMES[0]).read_bytes() == (EXAMPLES / NAMES[0]).read_bytes()


class TestRefusals:
    """What is refused: status 2 and one line."""

    def test_a_file_that_is_there(self, export, tmp_path):
        """It stays, and nothing else is written."""
        (tmp_path / NAMES[2]).write_text("mine")
        complaint = export(status=2)
        assert complaint.endswith(
            f"{os.path.join('.', NAMES[2])!r} is there already: --force replaces it"
        )
        assert there(tmp_path) == [NAMES[2]]
        assert (tmp_path / NAMES[2]).read_text() == "mine"

    def test_unless_it_may_be_replaced(self, export, tmp_path):
        """`--force` is what says so."""
        (tmp_path / NAMES[2]).write_text("mine")
        export("--force")
        assert (tmp_path / NAMES[2]).read_bytes() == (EXAMPLES / NAMES[2]).read_bytes()

    def test_a_link_into_nothing(self, export, tmp_path):
        """Nothing is written where it leads."""
        (tmp_path / NAMES[2]).symlink_to(tmp_path / "elsewhere")
        export("--alerts", status=2)
        assert there(tmp_path) == [NAMES[2]]

    def test_a_folder_that_is_a_file(self, export, tmp_path):
        """The reason is the system's."""
        (tmp_path / "file").write_text("")
        assert export("file", status=2) == (
            "volnux dashboards export: can't make the folder 'file': File exists"
        )

    def test_a_file_that_is_a_folder(self, export, tmp_path):
        """Not even by force."""
        (tmp_path / NAMES[0]).mkdir()
        assert export("--grafana", "--force", status=2).endswith("Is a directory")

    @pytest.mark.parametrize("prefix", BAD)
    def test_what_no_index_is_called(self, export, tmp_path, prefix):
        """As the publisher would."""
        complaint = export("--index-prefix", prefix, status=2)
        assert f"{prefix!r} cannot begin the name of an index" in complaint
        assert there(tmp_path) == []

    @pytest.mark.parametrize("prefix", BAD)
    def test_what_the_publisher_refuses(self, prefix):
        """What is bad here is bad there; but for control characters, which end up in JSON here."""
        from volnux.telemetry import ElasticsearchPublisher

        if prefix != "a\x01":
            with pytest.raises(ValueError, match="cannot begin the name of an index"):
                ElasticsearchPublisher(index_prefix=prefix)

    def test_a_prefix_for_nobody(self, export):
        """Only Kibana's dashboard has one."""
        complaint = export("--grafana", "--index-prefix", "x", status=2)
        assert "--index-prefix is for Kibana" in complaint

    def test_unknown_words(self, capsys):
        """Typer says so, in its own way, with the same status."""
        assert main(["dashboards", "import"]) == 2
        assert "import" in capsys.readouterr().err


def test_the_wheel_has_them(tmp_path):
    """Installed without the examples, the command writes the same files."""
    pytest.importorskip("hatchling")
    if not (ROOT / "src").is_dir():
        pytest.skip("only the wheel is here, and the other tests use it")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    environment = {**os.environ, "VOLNUX_NO_EXTENSIONS": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if name.startswith("volnux/dashboards/")]
        archive.extractall(installed)
    assert sorted(inside) == sorted(f"volnux/dashboards/{name}" for name in NAMES)
    code = "import volnux, volnux.cli; print(volnux.__file__); volnux.cli.main(['dashboards', 'export', 'out'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert Path(done.stdout.splitlines()[0]).is_relative_to(installed)
    for name in NAMES:
        assert (tmp_path / "out" / name).read_bytes() == (EXAMPLES / name).read_bytes()
