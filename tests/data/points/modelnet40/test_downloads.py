"""Downloads from a real server are complete and have the right checksum, or leave no file."""

import hashlib
import http.server
import threading

import pytest

from perceiver.data.points.modelnet40 import downloads
from perceiver.errors import InputError

CONTENT = bytes(range(256)) * 10_000


@pytest.fixture
def server():
    """A local server with /whole.zip and /short.zip (a broken connection) and nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in ("/whole.zip", "/short.zip"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/whole.zip" else CONTENT[:1_500_000])

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def publish(monkeypatch, url, content=CONTENT):
    published = downloads.PublishedArchive(url, hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(downloads.ARCHIVES, "ModelNet40.zip", published)


def refused(folder, *parts):
    with pytest.raises(InputError) as raised:
        downloads.fetch("ModelNet40.zip", str(folder))
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert part in message
    assert not folder.exists() or not list(folder.iterdir())


def test_a_whole_archive_is_fetched_once(server, tmp_path, monkeypatch):
    publish(monkeypatch, f"{server}/whole.zip")
    path = downloads.fetch("ModelNet40.zip", str(tmp_path / "new"))
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    publish(monkeypatch, f"{server}/gone.zip")
    assert downloads.fetch("ModelNet40.zip", str(tmp_path / "new")) == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=r"new/ModelNet40.zip: refused: its SHA-256"):
        downloads.fetch("ModelNet40.zip", str(tmp_path / "new"))


def test_a_wrong_checksum_is_refused(server, tmp_path, monkeypatch):
    publish(monkeypatch, f"{server}/whole.zip", content=b"other")
    refused(tmp_path, f"{server}/whole.zip", "SHA-256", hashlib.sha256(b"other").hexdigest())


@pytest.mark.parametrize("path", ["short.zip", "gone.zip"])
def test_a_download_that_fails_leaves_nothing(server, tmp_path, monkeypatch, path):
    publish(monkeypatch, f"{server}/{path}")
    refused(tmp_path, f"{server}/{path}", "cannot be fetched", "404" if path == "gone.zip" else "")


def test_a_missing_server_and_an_unknown_name_are_errors(tmp_path, monkeypatch):
    publish(monkeypatch, "http://127.0.0.1:9/ModelNet40.zip")
    refused(tmp_path, "127.0.0.1:9", "in another way")
    with pytest.raises(InputError, match=r"'Modelnet40.zip': did you mean 'ModelNet40.zip'"):
        downloads.fetch("Modelnet40.zip", str(tmp_path))
