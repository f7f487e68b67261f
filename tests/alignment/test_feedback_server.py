"""The page's server: for this machine's own page alone, and every answer of it true."""

import http.client
import json
import socket

import pytest
from feedback_helpers import NASTY, Client, serving, some_pairs

from aigc_lab.alignment.feedback.judging import Judging
from aigc_lab.alignment.feedback.pairs import Pair
from aigc_lab.alignment.feedback.server import FeedbackServer
from aigc_lab.alignment.feedback.votes import read_votes, undo_vote


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "votes.jsonl"


@pytest.fixture
def client(path):
    path.parent.mkdir()
    with serving(some_pairs(3), path) as server:
        yield Client(server)


def raw(client: Client, method: str, path: str, headers: dict, body: str = "") -> int:
    """The status of a request with exactly these headers."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    status = connection.getresponse().status
    connection.close()
    return status


VOTE = json.dumps({"pair": "pair 0", "side": "left", "vote": "v0"})


def test_a_vote_is_in_the_file_before_the_next_pair_is_sent(client, path):
    state = client.get().json()
    assert (state["n_judged"], state["n_pairs"], state["pair"]["id"]) == (0, 3, "pair 0")
    assert state["last_vote"] == ""
    state = client.vote("pair 0", "left", "v0").json()
    (vote,) = read_votes(path)
    assert (vote.vote_id, vote.labeller, vote.choice) == ("v0", "Mei", vote.left)
    assert (state["n_judged"], state["pair"]["id"], state["last_vote"]) == (1, "pair 1", "v0")
    shown = [state["pair"]["left"], state["pair"]["right"]]
    client.vote("pair 1", "right", "v1")
    assert getattr(read_votes(path)[1], read_votes(path)[1].choice) == shown[1]


def test_repeated_requests_count_once(client, path):
    for _ in range(3):
        answer = client.vote("pair 0", "left", "v0")
        assert answer.status_code == 200 and answer.json()["pair"]["id"] == "pair 1"
    assert len(read_votes(path)) == 1 and path.read_bytes().count(b"\n") == 1
    again = client.vote("pair 0", "right", "v1")  # as from another window
    assert again.status_code == 409 and again.json()["pair"]["id"] == "pair 1"
    assert "judged before" in again.json()["error"]
    assert client.vote("pair 0", "right", "v0").status_code == 400
    assert len(read_votes(path)) == 1


def test_undoing_and_going_on(client, path):
    client.vote("pair 0", "left", "v0")
    client.vote("pair 1", "skip", "v1")
    for _ in range(2):
        state = client.post("undo", {"vote": "v1"}).json()
        assert (state["pair"]["id"], state["last_vote"]) == ("pair 1", "v0")
    for k in (1, 2):
        state = client.vote(f"pair {k}", "tie", f"w{k}").json()
    assert state["pair"] is None and state["n_judged"] == 3
    assert [vote.vote_id for vote in read_votes(path)] == ["v0", "w1", "w2"]
    assert client.post("undo", {"vote": "v9"}).status_code == 400


def test_changes_by_others_are_seen(client, path):
    client.vote("pair 0", "left", "v0")
    undo_vote(path, "v0", "Mei")
    assert client.get().json()["pair"]["id"] == "pair 0"


# ------------------------------------------------------------------------------- who may ask for it


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "", None])
def test_other_hosts_are_refused(client, path, method, host):
    """Against a name of another site that suddenly points to this machine."""
    headers = {"X-Feedback-Key": client.key}
    if host is not None:
        headers["Host"] = host.format(port=client.port)
    for target in ("/state", "/", "/page.js") if method == "GET" else ("/vote", "/undo"):
        assert raw(client, method, target, headers, VOTE) in (400, 403)
    headers["Host"] = f"localhost:{client.port}"
    allowed = "/state" if method == "GET" else "/vote"
    assert raw(client, method, allowed, headers, VOTE) == 200
    assert path.exists() == (method == "POST")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://127.0.0.1:1", "https://127.0.0.1:{port}", "null", ""],
)
def test_other_sites_are_refused(client, path, origin):
    origin = origin.format(port=client.port)
    assert client.vote("pair 0", "left", "v0", Origin=origin).status_code == 403
    assert client.get(Origin=origin).status_code == 403
    assert not path.exists()
    own = f"http://127.0.0.1:{client.port}"
    assert client.vote("pair 0", "left", "v0", Origin=own).status_code == 200


@pytest.mark.parametrize("key", ["", "wrong", "\u00e9"])
def test_without_the_key_nothing_is_told_and_nothing_taken(client, path, key):
    headers = {"X-Feedback-Key": key.encode("latin-1")}
    for answer in (client.get(**headers), client.vote("pair 0", "left", "v0", **headers)):
        assert answer.status_code == 403 and "whole address" in answer.json()["error"]
        assert "Story" not in answer.text
    assert not path.exists()
    page = client.get("", **headers)  # the page itself holds no secret, and can say what to do
    assert page.status_code == 200 and client.key not in page.text


def test_it_listens_on_this_machine_only(tmp_path):
    with serving(some_pairs(1), tmp_path / "votes") as server:
        assert {s.getsockname()[0] for s in server._sockets} == {"127.0.0.1"}
        with pytest.raises(OSError):
            FeedbackServer(Judging(some_pairs(1), tmp_path / "votes", "Mei"), server.port)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_the_page_forbids_everything_from_elsewhere(client):
    for name in ("", "page.js", "page.css", "state"):
        headers = client.get(name).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers
    texts = [client.get(name).text for name in ("", "page.js", "page.css")]
    assert not any("://" in text for text in texts)
    assert not any(word in texts[1] for word in ("innerHTML", "insertAdjacentHTML", "eval("))


# ------------------------------------------------------------------------------------------ trouble


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        ([1], "no JSON object"),
        ({}, "side=None"),
        ({"pair": "pair 9", "side": "left", "vote": "v"}, "'pair 9' is none of"),
        ({"pair": {}, "side": "left", "vote": "v"}, "is none of"),
        ({"pair": "pair 0", "side": "up", "vote": "v"}, "side='up'"),
        ({"pair": "pair 0", "side": ["left"], "vote": "v"}, "side="),
        ({"pair": "pair 0", "side": "left"}, "vote_id=None"),
        ({"pair": "pair 0", "side": "left", "vote": {"x": 1}}, "vote_id="),
    ],
)
def test_requests_that_are_none(client, path, body, words):
    answer = client.post("vote", body)
    assert answer.status_code == 400 and words in answer.json()["error"]
    assert not path.exists()


def test_addresses_and_methods_that_are_none(client, path):
    assert client.get("vote").status_code == client.post("state", {}).status_code == 405
    for name in ("none", "../pairs.py", "%2e%2e/pairs.py", "pageXjs", "server.py"):
        assert client.get(name).status_code == 404
    assert client.post("vote", b" " * 20_000).status_code in (400, 413)
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_said_and_the_vote_can_be_sent_again(client, path):
    client.vote("pair 0", "left", "v0")
    away = path.parent.with_name("away")
    path.parent.rename(away)
    answer = client.vote("pair 1", "left", "v1")
    assert answer.status_code == 500
    assert answer.json() == {"error": f"{path} cannot be written: No such file or directory."}
    away.rename(path.parent)
    assert client.vote("pair 1", "left", "v1").json()["pair"]["id"] == "pair 2"
    assert [vote.vote_id for vote in read_votes(path)] == ["v0", "v1"]


def test_a_file_that_is_damaged_meanwhile_is_left_alone(client, path):
    client.vote("pair 0", "left", "v0")
    damaged = b"nonsense\n" + path.read_bytes()
    path.write_bytes(damaged)
    answer = client.vote("pair 1", "left", "v1")
    assert answer.status_code == 400 and "line 1" in answer.json()["error"]
    assert client.get().status_code == 500 and "line 1" in client.get().json()["error"]
    assert path.read_bytes() == damaged


def test_hostile_texts_travel_whole(tmp_path):
    pair = Pair((("system", NASTY), ("user", "你好")), NASTY, "", NASTY)
    with serving([pair], tmp_path / "votes.jsonl", NASTY) as server:
        client = Client(server)
        answer = client.get()
        assert answer.headers["Content-Type"].startswith("application/json")
        shown = answer.json()["pair"]
        assert {shown["left"], shown["right"]} == {NASTY, ""}
        assert shown["messages"][0]["content"] == answer.json()["labeller"] == NASTY
        client.vote(NASTY, "right", "v")
    (vote,) = read_votes(tmp_path / "votes.jsonl")
    assert (vote.pair_id, vote.labeller, vote.messages) == (NASTY, NASTY, pair.messages)
