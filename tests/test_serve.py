"""`advisor serve`: the endpoints, what they refuse, and that one client does not stop the others."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from serving import Served, served

from advisor import api
from advisor.serving.limits import ADDRESSES, Limits, Rate


@pytest.fixture(scope="module")
def server(finished_run):
    with served(finished_run, coverage=0.9, limits=Limits(rate=1000, burst=1000)) as running:
        yield running


@pytest.fixture
def red(finished_run) -> Path:
    return finished_run.parent / "images" / "red" / "0.png"


def test_the_answer_is_that_of_predict(server: Served, finished_run, red):
    (expected,) = api.predict(finished_run, [red], coverage=0.9)
    answer = server.classify(red)
    assert answer.status == 200
    told = answer.json
    best, probability = expected.best(1)[0]
    assert told["top"][0] == {"label": best, "probability": pytest.approx(probability, abs=1e-5)}
    assert tuple(told["set"]) == expected.possible
    assert (told["coverage"], told["unlike"]) == (0.9, expected.unlike)
    assert told["distance"] == pytest.approx(expected.distance, abs=1e-5)
    assert server.classify(red, "?coverage=0.8").json["coverage"] == 0.8
    assert server.classify(red, Content_Type="image/png").json == told


def test_a_heat_map_is_that_of_predict(server: Served, finished_run, red, tmp_path):
    (file,) = api.heatmaps(finished_run, [red], output=tmp_path)
    answer = server.ask("POST", "/api/heatmap", red.read_bytes(), Content_Type="image/png")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(answer.content)) as drawn, Image.open(file) as expected:
        assert drawn.tobytes() == expected.tobytes()
    assert server.ask("POST", "/api/heatmap", b"no picture", Content_Type="image/png").status == 422


def test_what_the_run_is(server: Served, finished_run):
    told = server.ask("GET", "/api/run").json
    assert told["name"] == finished_run.name
    assert told["classes"] == ["blue", "green", "red"]
    assert told["coverage"] == 0.9


def test_strangers_are_told(server: Served):
    file = io.BytesIO()
    Image.effect_noise((48, 48), 90).save(file, "png")
    assert server.classify(file.getvalue()).json["unlike"]


def test_nothing_is_kept_and_no_name_is_taken_from_a_client(server: Served, red):
    before = set(Path(tempfile.gettempdir()).glob("advisor-serve-*/*"))
    for _ in range(3):
        server.classify(red, Content_Disposition='attachment; filename="../../evil.png"')
        server.classify(b"no picture")
    assert set(Path(tempfile.gettempdir()).glob("advisor-serve-*/*")) <= before


def picture(size: tuple[int, int], mode: str = "1", format: str = "png") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, format)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"", 422, "empty"),
        (b"<html><script>alert(1)</script>", 422, "not an image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 422, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch) system", 422, "not an image"),
        (picture((300, 300), "RGB")[:200], 422, "truncated"),
        (picture((20_000, 10_000)), 422, "20000 x 10000 pixels; the limit for this kind of PNG"),
    ],
)
def test_what_is_no_picture_or_too_large_is_refused(server: Served, content, status, told):
    answer = server.classify(content)
    assert answer.status == status
    assert told in answer.json["error"]


@pytest.mark.parametrize("asked", ["x", "0", "1", "-1", "nan", "0.999", ""])
def test_a_coverage_that_cannot_be_had_is_refused(server: Served, red, asked):
    answer = server.classify(red, f"?coverage={asked}")
    assert answer.status == 422
    assert "coverage" in answer.json["error"]
    assert "/" not in answer.json["error"]  # where the run lies is nobody's business


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "text/html", ""])
def test_what_a_form_can_send_is_refused(server: Served, red, kind):
    assert server.classify(red, Content_Type=kind).status == 415


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8000"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "[::1"}, 421),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "192.168.1.2"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost"}, 403),  # another origin than 127.0.0.1 is to a browser
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_other_sites_are_kept_out(server: Served, red, headers, status):
    assert server.classify(red, **headers).status == status


def test_the_page_asks_with_its_own_origin(server: Served, red):
    assert server.classify(red, Origin=server.address).status == 200


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/api/run", "/openapi.json", "/nothing"])
def test_every_answer_says_that_nothing_else_may_run(server: Served, path):
    answer = server.ask("GET", path)
    assert answer.status == (404 if path == "/nothing" else 200)
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    if path == "/":
        assert b"<script>" not in answer.content
        assert b"style=" not in answer.content


@pytest.mark.parametrize(
    "path", ["/../metrics.json", "/page.js/../../server.py", "/%2e%2e/metrics.json", "//"]
)
def test_no_other_file_is_given(server: Served, path):
    assert server.ask("GET", path).status == 404


def test_a_method_that_there_is_not_is_refused_in_json(server: Served):
    answer = server.ask("GET", "/api/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.json["error"]


# ---------------------------------------------------------------------------------------------------
# Many at once


def is_left(client: socket.socket, sending: bytes = b"") -> bool:
    """Whether the server hangs up, although a client goes on sending."""
    client.settimeout(20)
    try:
        for _ in range(10_000 if sending else 1):
            client.sendall(sending)
            time.sleep(0.002 if sending else 0)
        return not sending and client.recv(1000) == b""
    except ConnectionError:
        return True


def test_twenty_at_once_a_slow_one_a_silent_one_and_a_huge_one(finished_run):
    """All that is asked rightly is answered, and who is slow is told so."""
    images = sorted((finished_run.parent / "images").glob("*/*.png"))[::3]
    expected = {one.path: one.best(1)[0][0] for one in api.predict(finished_run, images)}
    huge = picture((20_000, 10_000), "L", "jpeg")  # it can be read, but by nobody else meanwhile
    with served(finished_run, Limits(seconds=3)) as server, ThreadPoolExecutor(24) as clients:
        slow, silent = (socket.create_connection(("127.0.0.1", server.port), 60) for _ in range(2))
        head = f"POST /api/predict HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Type: image/png\r\n"
        slow.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode() + b"\x89PNG")
        silent.sendall(b"POST /api/pre")
        bombs = [clients.submit(server.classify, huge) for _ in range(4)]
        began = time.monotonic()
        asked = [clients.submit(server.classify, path) for path in images]
        found = [one.result() for one in asked]
        took = time.monotonic() - began
        assert [answer.status for answer in found] == [200] * 20
        assert [answer.json["top"][0]["label"] for answer in found] == list(expected.values())
        assert [bomb.result().status for bomb in bombs] == [413] * 4
        assert "20000 x 10000 are more than 100 megapixels" in bombs[0].result().json["error"]
        assert took < 30
        slow.settimeout(20)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert is_left(silent)
        slow.close()
        silent.close()
        assert server.classify(images[0]).status == 200


def test_more_bytes_than_are_allowed_are_refused_and_heard_of(finished_run, red):
    with served(finished_run, Limits(most_bytes=20_000)) as server:
        assert server.classify(red).status == 200
        for size in (20_001, 190_000):
            answer = server.classify(bytes(size))
            assert answer.status == 413
            assert "0 MB" in answer.json["error"]
        with socket.create_connection(("127.0.0.1", server.port), 20) as endless:
            head = "POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            endless.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            assert is_left(endless, b"2710\r\n" + bytes(10_000) + b"\r\n")
        assert server.classify(red).status == 200


def test_one_address_may_send_so_many_in_a_second(finished_run, red):
    with served(finished_run, Limits(rate=0.5, burst=3)) as server:
        found = [server.classify(red) for _ in range(5)]
        assert [answer.status for answer in found] == [200, 200, 200, 429, 429]
        assert int(found[-1].headers["retry-after"]) in (1, 2)
        assert server.ask("GET", "/").status == 200


def test_too_many_at_once_are_told_to_come_again(finished_run, red):
    with served(finished_run, Limits(most_pictures=1)) as server:
        with socket.create_connection(("127.0.0.1", server.port), 20) as slow:
            head = "POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            slow.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
            time.sleep(0.5)
            assert server.classify(red).status == 503
        for _ in range(50):  # until the server has seen that the slow one has left
            if (status := server.classify(red).status) == 200:
                break
            time.sleep(0.1)
        assert status == 200


def test_a_bucket_fills_again_and_addresses_are_forgotten():
    now = [0.0]
    rate = Rate(Limits(rate=2, burst=4), lambda: now[0])
    assert [rate.seconds_to_wait("a") for _ in range(6)] == [0, 0, 0, 0, 0.5, 0.5]
    assert rate.seconds_to_wait("b") == 0
    now[0] = 0.5
    assert [rate.seconds_to_wait("a") for _ in range(2)] == [0, 0.5]
    for number in range(2 * ADDRESSES):
        rate.seconds_to_wait(str(number))
    assert len(rate._left) == ADDRESSES


# ---------------------------------------------------------------------------------------------------
# The command


def test_the_command_serves_until_ctrl_c(finished_run, red):
    command = [sys.executable, "-m", "advisor.cli", "serve", str(finished_run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            address = line.split(" is served at ")[1].split(";")[0]
            assert address.startswith("http://127.0.0.1:")
            sent = urllib.request.Request(
                f"{address}/api/predict", red.read_bytes(), {"Content-Type": "image/png"}
            )
            for _ in range(100):
                try:
                    with urllib.request.urlopen(sent, timeout=30) as answer:
                        assert json.load(answer)["top"][0]["label"] == "red"
                    break
                except OSError:
                    time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_that_is_taken_is_one_line(finished_run, refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}" in refused("serve", str(finished_run), "--port", port)
    assert "cannot listen at 192.0.2.1" in refused("serve", str(finished_run), "--host", "192.0.2.1")
    assert "999 images" in refused("serve", str(finished_run), "--coverage", "0.999")


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra_one_line_says_what_to_install(finished_run, refused, monkeypatch, missing):
    for name in [name for name in sys.modules if name.startswith(("advisor.serving", missing))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    said = refused("serve", str(finished_run))
    assert 'pip install "transfer-advisor[serve]"' in said
    assert missing in said


def test_the_run_of_an_older_version_is_served_without_sets(finished_run, tmp_path, red):
    run = tmp_path / "run"
    run.mkdir()
    for file in finished_run.iterdir():
        if file.is_file() and file.name != "calibration.npz":
            os.link(file, run / file.name)
    with served(run) as server:
        told = server.classify(red).json
        assert (told["set"], told["coverage"]) == (None, None)
        assert "calibration.npz" in server.classify(red, "?coverage=0.9").json["error"]
