"""Pairs, votes and a running server for the tests of feedback."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import requests

from aigc_lab.alignment.feedback.judging import Judging
from aigc_lab.alignment.feedback.pairs import Pair
from aigc_lab.alignment.feedback.server import FeedbackServer
from aigc_lab.alignment.feedback.vote import Vote

NASTY = "<script>document.title='owned'</script><img src=x onerror=alert(1)> &amp; <|end|> \u2028!"


def some_pairs(n: int) -> list[Pair]:
    return [
        Pair((("user", f"Story {k}?"),), f"A of {k}.", f"B of {k}.", f"pair {k}") for k in range(n)
    ]


def vote_on(k: int, choice: str = "a", labeller: str = "Mei", **others) -> Vote:
    (pair,) = some_pairs(k + 1)[k:]
    return Vote(pair.pair_id, pair.messages, pair.a, pair.b, choice, labeller, "b", **others)


class Client:
    """Talks to a server as the page does."""

    def __init__(self, server: FeedbackServer):
        self.base, self.key = server.address.split("#")
        self.port = server.port

    def get(self, path: str = "state", **headers: str) -> requests.Response:
        headers = {"X-Feedback-Key": self.key, **headers}
        return requests.get(self.base + path, headers=headers, timeout=30)

    def post(self, path: str, body: object, **headers: str) -> requests.Response:
        headers = {"X-Feedback-Key": self.key, **headers}
        data = body if isinstance(body, bytes) else json.dumps(body)
        return requests.post(self.base + path, data=data, headers=headers, timeout=30)

    def vote(self, pair: str, side: str, vote: str, **headers: str) -> requests.Response:
        return self.post("vote", {"pair": pair, "side": side, "vote": vote}, **headers)


@contextlib.contextmanager
def serving(pairs: list[Pair], votes: Path, labeller: str = "Mei") -> Iterator[FeedbackServer]:
    """A server in a thread with an event loop of its own."""
    server = FeedbackServer(Judging(pairs, votes, labeller))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> None:
        server.start()

    async def end() -> None:
        server.stop()
        await server._server.close_all_connections()

    asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
