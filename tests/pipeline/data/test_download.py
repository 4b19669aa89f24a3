import gzip
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from pipeline.data import datasets, download, sources
from pipeline.data.idx import read_idx, write_idx
from pipeline.errors import PipelineError

FILES = ("file-0.gz", "file-1.gz", "file-2.gz")


class Mirror(BaseHTTPRequestHandler):
    """Serves /BEHAVIOUR/FILE."""

    def do_GET(self):
        asked.append(self.path)
        _, behaviour, name = self.path.split("/")
        getattr(self, f"_{behaviour.replace('-', '_')}")(content[name])

    def _answer(self, body, length=None, status=200):
        self.send_response(status)
        self.send_header("Content-Length", len(body) if length is None else length)
        self.end_headers()
        self.wfile.write(body)

    def _good(self, body):
        self._answer(body)

    def _failing(self, _body):
        self._answer(b"", status=500)

    def _odd(self, _body):
        self.wfile.write(b"HTTP/1.0 799 \x1b[31mred\r\nContent-Length: 0\r\n\r\n")

    def _without_the_file(self, _body):
        self._answer(b"<html>", status=404)

    def _hanging_up(self, body):
        self._answer(body[:1000], length=len(body))

    def _cut_short(self, body):
        self._answer(body[:1000])

    def _page(self, _body):
        self._answer(b"<!DOCTYPE html><html>Please log in</html>")

    def _flipped_bit(self, body):
        self._answer(body[:2000] + bytes([body[2000] ^ 1]) + body[2001:])

    def _another_file(self, _body):
        self._answer(content["other"])

    def _length_of_letters(self, body):
        self._answer(body, length="abc")

    def _not_http(self, _body):
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    def _hanging(self, _body):
        over.wait()

    def _stopping(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body[:10_000])
        over.wait()

    def _dripping(self, body):
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self._drip(body)

    def _dripping_header(self, body):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Drip: ")
        self._drip(body)

    def _drip(self, body):
        for byte in body:
            if over.wait(0.02):
                return
            self.wfile.write(b"%c" % (byte % 90 + 33))

    def log_message(self, *_):
        pass


asked = []
content = {}
over = threading.Event()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        """Say nothing of clients that leave."""


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory):
    """Noise, which stays as large when compressed: nothing is cut within the first bytes."""
    folder = tmp_path_factory.mktemp("files")
    for number, name in enumerate((*FILES, "other")):
        images = np.random.default_rng(number).integers(0, 256, (20, 50, 50), np.uint8)
        write_idx(folder / name, images)
        content[name] = gzip.compress((folder / name).read_bytes())


@pytest.fixture
def mirrors(monkeypatch):
    """The address of a mirror for each behaviour."""
    asked.clear()
    over.clear()
    server = Server(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(download, "PAUSE", 0)
    yield lambda behaviour: f"http://127.0.0.1:{server.server_port}/{behaviour}/"
    over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def impatient(monkeypatch):
    """A mirror is left after 0.9 s."""
    monkeypatch.setattr(download, "TICK", 0.03)


@pytest.fixture
def folder(tmp_path):
    """An empty one."""
    (tmp_path / "downloaded").mkdir()
    return tmp_path / "downloaded"


def fetch(folder, *mirrors, files=FILES):
    """Download, knowing the sha256 of each file, as of MNIST's."""
    digests = {}
    for name in files:
        path = folder.parent / name
        path.write_bytes(content[name])
        digests[name] = read_idx(path, 3)[1]
    checks = {
        name: partial(sources.read_verified, file=f"images {name}", digests={f"images {name}": digests[name]})
        for name in files
    }
    download.download(mirrors, checks, folder, quiet=True)
    assert {file: (folder / file).read_bytes() for file in files} == {file: content[file] for file in files}


def test_the_first_mirror_that_works_is_enough(mirrors, folder):
    fetch(folder, mirrors("good"), mirrors("failing"))
    assert not any("failing" in path for path in asked)


FAULTS = {
    "odd": "answered with status 799",
    "failing": "answered with status 500 Internal Server Error",
    "without-the-file": "answered with status 404 Not Found",
    "hanging-up": "broke off before the end of the file",
    "cut-short": "sent a file that cannot be read (Compressed file ended before the end-of-stream marker was reached)",
    "page": "sent a file that is an HTML or XML page",
    "flipped-bit": "sent a file that cannot be read (",
    "another-file": "sent a file that is not the file images file-0.gz of MNIST: its content has the sha256 ",
    "not-http": "cannot be reached (BadStatusLine)",
}


@pytest.mark.parametrize("behaviour", FAULTS)
def test_the_second_serves_where_the_first_fails_and_a_warning_says_so(mirrors, folder, capsys, behaviour):
    fetch(folder, mirrors(behaviour), mirrors("good"))
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.startswith(f"Warning: {mirrors(behaviour)} {FAULTS[behaviour]}")
    assert warning.endswith("; file-0.gz has to come from another mirror.")


@pytest.mark.parametrize("behaviour", FAULTS)
def test_without_another_mirror_the_error_says_what_came_and_what_can_be_done(mirrors, folder, behaviour):
    with pytest.raises(PipelineError) as caught:
        fetch(folder, mirrors(behaviour))
    message = str(caught.value)
    assert message.startswith(f"file-0.gz cannot be downloaded: {mirrors(behaviour)} {FAULTS[behaviour]}")
    assert "with -P source=DIR, or use the bundled digits with -P dataset=digits." in message
    assert "\n" not in message


@pytest.mark.parametrize("behaviour", ["hanging", "stopping", "dripping", "dripping-header"])
def test_a_mirror_that_is_too_slow_is_left_for_all_files(mirrors, folder, impatient, capsys, behaviour):
    fetch(folder, mirrors(behaviour), mirrors("good"))
    assert len([path for path in asked if behaviour in path]) == 1
    [warning] = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"Warning: {mirrors(behaviour)} gave less than 33.3 kB/s for 0.9 s")


def test_a_mirror_that_was_left_is_named_when_the_others_fail_later(mirrors, folder, impatient):
    with pytest.raises(PipelineError, match=r"file-0.gz cannot .*/hanging/ gave less than .*; .*/page/ sent a file"):
        fetch(folder, mirrors("hanging"), mirrors("page"))


def test_an_address_that_nobody_answers_is_asked_for_one_file_only(mirrors, folder, capsys):
    fetch(folder, "http://127.0.0.1:9/", mirrors("good"))
    [warning] = capsys.readouterr().err.splitlines()
    assert warning.startswith("Warning: http://127.0.0.1:9/ cannot be reached (Connection refused); file-0.gz ")


def test_a_length_that_is_no_number_does_not_matter(mirrors, folder):
    fetch(folder, mirrors("length-of-letters"))


def test_a_failing_mirror_is_tried_again(mirrors, folder):
    with pytest.raises(PipelineError):
        fetch(folder, mirrors("failing"))
    assert len(asked) == 3


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_mirror(mirrors, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(PipelineError, match=r"missing/file-0.gz\S* cannot be written \(No such file.*TMPDIR"):
        fetch(missing, mirrors("good"))
    assert len(asked) == 1


def test_without_a_network_it_says_what_else_can_be_done(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setattr(sources, "MIRRORS", ["http://127.0.0.1:9/", "http://127.0.0.1:1/"])
    with pytest.raises(PipelineError, match=r"-P source=DIR.*-P dataset=digits") as caught:
        datasets.prepare("mnist", data_dir=tmp_path / "data", quiet=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_mirror_with_other_content_is_not_believed(mirrors, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MIRRORS", [mirrors("good")])
    for name in sources.MNIST_DIGESTS:
        monkeypatch.setitem(content, f"{name}.gz", content["other"])
    with pytest.raises(PipelineError, match="sent a file that is not the file train-images-idx3-ubyte of MNIST"):
        datasets.prepare("mnist", data_dir=tmp_path / "data", quiet=True)
    assert not (tmp_path / "data").exists()
