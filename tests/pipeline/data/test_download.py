import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.data import datasets, download
from pipeline.errors import PipelineError

FILES = {f"file-{number}": bytes([number]) * 200_000 for number in range(3)}


class Mirror(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        _, behaviour, name = self.path.split("/")
        if behaviour == "failing":
            self.send_error(500)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(FILES[name])))
        self.end_headers()
        self.wfile.write(FILES[name][: 1000 if behaviour == "hanging-up" else None])

    def log_message(self, *_):
        pass


asked = []


@pytest.fixture
def mirrors(monkeypatch):
    """The address of a mirror for each behaviour."""
    asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(download, "PAUSE", 0)
    yield lambda behaviour: f"http://127.0.0.1:{server.server_port}/{behaviour}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    """An empty one."""
    (tmp_path / "downloaded").mkdir()
    return tmp_path / "downloaded"


def test_the_first_mirror_that_works_is_enough(mirrors, folder):
    download.download([mirrors("good"), mirrors("failing")], list(FILES), folder, quiet=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES
    assert not any("failing" in path for path in asked)


@pytest.mark.parametrize("behaviour", ["failing", "hanging-up"])
def test_the_second_serves_where_the_first_fails(mirrors, folder, behaviour):
    download.download([mirrors(behaviour), mirrors("good")], list(FILES), folder, quiet=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES


def test_a_failing_mirror_is_tried_again(mirrors, tmp_path):
    with pytest.raises(PipelineError):
        download.download([mirrors("failing")], ["file-0"], tmp_path, quiet=True)
    assert len(asked) == 3


def test_without_a_network_it_says_what_else_can_be_done(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setattr(datasets, "MIRRORS", ["http://127.0.0.1:9/", "http://127.0.0.1:1/"])
    with pytest.raises(PipelineError, match=r"-P source=DIR.*-P dataset=digits") as caught:
        datasets.prepare("mnist", data_dir=tmp_path / "data", quiet=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_mirror_with_other_content_is_not_believed(mirrors, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "MIRRORS", [mirrors("good")])
    for name in datasets.MNIST_DIGESTS:
        monkeypatch.setitem(FILES, f"{name}.gz", b"not MNIST")
    with pytest.raises(PipelineError, match="begins with"):
        datasets.prepare("mnist", data_dir=tmp_path / "data", quiet=True)
    assert not (tmp_path / "data").exists()
