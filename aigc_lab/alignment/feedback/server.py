"""The page on which somebody judges pairs: a small server for this machine alone.

It listens on 127.0.0.1. Other sites that the browser has open cannot use it: a request must name
this host (against DNS rebinding), come from this page (Origin), and carry a key that only the
address holds, behind its "#", which browsers send nowhere.
"""

import hmac
import json
import re
import secrets
from dataclasses import asdict
from importlib import resources
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from aigc_lab.alignment.feedback.judging import Judging
from aigc_lab.alignment.feedback.vote import AlreadyJudgedError, VoteError
from aigc_lab.data.preferences import turns_of

HOST = "127.0.0.1"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MOST_BYTES = 10_000  # of a request: it holds two ids and a choice


class FeedbackServer:
    """Serves the page while an event loop runs, as in a command or in Jupyter.

    Args:
        judging: whose pairs are shown.
        port: 0 takes any that is free.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, judging: Judging, port: int = 0):
        self.judging = judging
        self.key = secrets.token_urlsafe(24)
        self._sockets = bind_sockets(port, HOST)
        self.port = self._sockets[0].getsockname()[1]
        self.address = f"http://{HOST}:{self.port}/#{self.key}"

    def start(self) -> None:
        """Begin to answer; needs a running event loop."""
        hosts = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        shared = {"hosts": hosts, "key": self.key, "judging": self.judging}
        files = FILES.items()
        routes = [(re.escape(path), _File, {**shared, "file": file}) for path, file in files]
        routes += [(f"/{name}", _Api, {**shared, "action": name}) for name in ("state", *_ACTIONS)]
        app = Application(routes, log_function=lambda handler: None)
        self._server = HTTPServer(app, max_body_size=MOST_BYTES)
        self._server.add_sockets(self._sockets)

    def stop(self) -> None:
        """Answer no more."""
        self._server.stop()


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _vote(judging: Judging, body: dict[str, Any]) -> None:
    judging.vote(body.get("pair"), body.get("side"), body.get("vote"))


def _undo(judging: Judging, body: dict[str, Any]) -> None:
    judging.undo(body.get("vote"))


_ACTIONS = {"vote": _vote, "undo": _undo}


class _Guarded(RequestHandler):
    """Refuses what does not come from this machine's own page."""

    def initialize(self, hosts: set[str], key: str, judging: Judging, **rest: Any) -> None:
        self.hosts, self.key, self.judging, self.rest = hosts, key, judging, rest

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    def prepare(self) -> None:
        headers = self.request.headers
        origin = headers.get("Origin")
        if headers.get("Host") not in self.hosts:
            self.fail(403, "this host is not served here")
        elif origin is not None and origin not in {f"http://{host}" for host in self.hosts}:
            self.fail(403, "other sites may not use this page")

    def fail(self, status: int, message: str) -> None:
        """End the request with an error."""
        self.set_status(status)
        self.finish({"error": message})


class _File(_Guarded):
    def get(self) -> None:
        name, kind = self.rest["file"]
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.finish((resources.files(__package__) / "page" / name).read_bytes())


class _Api(_Guarded):
    def prepare(self) -> None:
        super().prepare()
        key = self.request.headers.get("X-Feedback-Key", "")
        if not self._finished and not hmac.compare_digest(key.encode(), self.key.encode()):
            self.fail(403, "open the whole address that the command has printed")

    def get(self) -> None:
        if self.rest["action"] != "state":
            return self.fail(405, "this needs POST")
        try:
            self.finish(self._state())
        except (OSError, ValueError) as error:
            self.fail(500, f"{self.judging.votes_path} cannot be read: {_why(error)}.")

    def post(self) -> None:
        action = _ACTIONS.get(self.rest["action"])
        if action is None:
            return self.fail(405, "this needs GET")
        try:
            body = json.loads(self.request.body)
            if not isinstance(body, dict):
                raise VoteError("the request is no JSON object")
            action(self.judging, body)
            self.finish(self._state())
        except AlreadyJudgedError:
            # Perhaps in another window: go on with what is next.
            self.set_status(409)
            self.finish(
                {"error": "This pair was judged before; here is the next.", **self._state()}
            )
        except OSError as error:
            self.fail(500, f"{self.judging.votes_path} cannot be written: {_why(error)}.")
        except ValueError as error:  # VoteError, and JSON that is none
            self.fail(400, str(error))

    def _state(self) -> dict[str, Any]:
        now = self.judging.standing()
        shown = None
        if now.pair:
            shown = {"id": now.pair.pair_id, "messages": turns_of(now.pair.messages)}
            shown |= {"left": now.left, "right": now.right}
        names = ("n_judged", "n_pairs", "last_vote")
        return {
            **{name: value for name, value in asdict(now).items() if name in names},
            "pair": shown,
            "labeller": self.judging.labeller,
            "file": str(self.judging.votes_path),
        }
