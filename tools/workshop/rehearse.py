"""Does a hub bear the class? Run a notebook as everybody at once, the day before.

    python tools/workshop/rehearse.py https://hub.example.org --token TOKEN \\
        --people 30 book/04_wkv_operator.ipynb

Users are made, their servers started, and all code cells run in order in a kernel of
each, in all of them at the same time; a table says how long everybody waited and whose
cells failed. Afterwards, also after Ctrl-C, servers that did not run before are stopped
and users that were not there before are removed. `--names guest01,guest02` rehearses
with users of the hub; what they have there stays.

The token is an administrator's, from the hub's page /hub/token, or that of a service
with the scopes below. Without --token it is the variable JUPYTERHUB_API_TOKEN, which
keeps it out of the shell's history.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urljoin

import nbformat
import requests
import websocket

SCOPES = {"admin:users", "admin:servers", "access:servers"}
PATIENCE = 600  # seconds without a word from the hub or a kernel
CLEARING = 120  # seconds for a server to go; the hub gives up a start after 60
PAUSE = 1  # seconds until the hub is asked again whether it has gone
GONE = {204, 404, 424}  # deleted; not there; no server to ask


class Trouble(Exception):
    """What went wrong and what to do about it, in one line."""


@dataclass
class Person:
    name: str
    was_there: bool
    was_running: bool
    server: str = ""  # the server's and the kernel's addresses on the hub
    kernel: str = ""
    server_seconds: float | None = None
    notebook_seconds: float | None = None
    outcome: str = "did not finish"
    cleared: bool = False


def said(answer):
    """What an answer's JSON holds, {} if it has none."""
    with suppress(requests.JSONDecodeError):
        return answer.json()
    return {}


def connect(address, headers):
    return websocket.create_connection(address, header=headers, timeout=PATIENCE)


class Hub:
    """What a rehearsal asks of a JupyterHub and of the servers behind it.

    `connect(address, headers)` opens a kernel's websocket.
    """

    def __init__(self, address, token, connect=connect, clearing=CLEARING, pause=PAUSE):
        self.address = address.rstrip("/") + "/"
        self.headers = {"Authorization": f"token {token}"}
        self.connect, self.clearing, self.pause = connect, clearing, pause

    def ask(self, method, path, content=None, stream=False):
        where = urljoin(self.address, path)
        given = {"headers": self.headers, "json": content, "stream": stream}
        try:
            return requests.request(method, where, timeout=PATIENCE, **given)
        except requests.RequestException as error:
            raise Trouble(
                f"{self.address} does not answer ({type(error).__name__}): is the "
                "address right, with its https://, and does the hub run?"
            ) from error

    def check(self):
        """Trouble unless there is a hub that lets this token do all that follows."""
        answer = self.ask("GET", "hub/api")
        if answer.status_code >= 500:
            raise Trouble(f"{self.address} says {answer.reason}: does the hub run?")
        if "version" not in said(answer):
            raise Trouble(f"no JupyterHub at {self.address}: give what is before /hub")
        # Where http leads to https, a POST would arrive as a GET.
        self.address = answer.url.removesuffix("hub/api")
        answer = self.ask("GET", "hub/api/user")
        page = f"make one as an administrator at {self.address}hub/token"
        if answer.status_code != 200:
            raise Trouble(f"the hub does not know this token: {page}")
        if missing := SCOPES - set(said(answer).get("scopes", ())):
            raise Trouble(f"the token lacks {', '.join(sorted(missing))}: {page}")

    def person(self, name):
        user = said(self.ask("GET", f"hub/api/users/{quote(name)}"))
        return Person(name, "name" in user, "" in user.get("servers", {}))

    def make_users(self, names):
        answer = self.ask("POST", "hub/api/users", {"usernames": names})
        if answer.status_code != 201:
            raise Trouble(f"the hub makes no users: {said(answer).get('message')}")

    def start(self, person):
        """Start a person's server and wait until it answers."""
        began, path = time.perf_counter(), f"hub/api/users/{quote(person.name)}/server"
        why = said(self.ask("POST", path)).get("message", "no reason given")
        for line in self.ask("GET", f"{path}/progress", stream=True).iter_lines():
            event = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if event.get("ready"):
                person.server_seconds = time.perf_counter() - began
                person.server = event["url"]
                return
            why = event.get("message", why) if event.get("failed") else why
        raise Trouble(f"no server: {why}; look into the hub's log")

    def run(self, person, name, cells):
        """Run the cells in a new kernel, of the kind `name`, of a person's server."""
        began, path = time.perf_counter(), f"{person.server}api/kernels"
        answer = self.ask("POST", path, {"name": name})
        if answer.status_code != 201:
            why = said(answer).get("message", answer.status_code)
            raise Trouble(f"no kernel {name}: {why}; look into the server's log")
        person.kernel = f"{path}/{said(answer)['id']}"
        # http becomes ws, and https wss.
        address = "ws" + urljoin(self.address, f"{person.kernel}/channels")[4:]
        run_cells(self.connect(address, self.headers), cells)
        person.notebook_seconds = time.perf_counter() - began
        person.outcome = f"all {len(cells)} ran"

    def clear(self, person):
        """Leave a person as they were found."""
        user = f"hub/api/users/{quote(person.name)}"
        end = time.monotonic() + self.clearing
        ours = [person.kernel if person.was_running else f"{user}/server"]
        ours += [] if person.was_there else [user]
        for path in filter(None, ours):
            # What is still on its way up or down is answered with 202 or 400.
            while self.ask("DELETE", path).status_code not in GONE:
                if time.monotonic() > end:
                    return
                time.sleep(self.pause)
        person.cleared = True


def run_cells(connection, cells):
    """Run cells [(code, may it fail)] in order; Trouble names the first that fails.

    `connection` is a kernel's websocket, or whatever has its send and recv.
    """
    for number, (code, may_fail) in enumerate(cells, 1):
        try:
            reply = execute(connection, code)
        except Trouble as trouble:
            raise Trouble(f"cell {number}: {trouble}") from trouble
        except (OSError, websocket.WebSocketException) as error:
            why = str(error).rstrip(".") or type(error).__name__
            why = f"cell {number}: {why}; look into the server's log"
            raise Trouble(why) from error
        if reply["status"] != "ok" and not may_fail:
            first, *_ = str(reply.get("evalue", "")).splitlines() or [""]
            why = f"{reply.get('ename')}: {first[:60]}".rstrip(": ")
            raise Trouble(f"cell {number}: {why}")


def execute(connection, code):
    """The kernel's reply to one cell."""
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request"}
    header |= {"version": "5.3", "session": "rehearsal", "username": "", "date": ""}
    content = {"code": code, "store_history": True, "allow_stdin": False}
    request = {"header": header, "content": content, "channel": "shell"}
    connection.send(json.dumps(request | {"parent_header": {}, "metadata": {}}))
    while frame := connection.recv():
        # Binary frames hold pictures and widgets, never a reply.
        message = {} if isinstance(frame, bytes) else json.loads(frame)
        content = message.get("content", {})
        if content.get("execution_state") in ("restarting", "dead"):
            raise Trouble("the kernel was killed: over its memory limit?")
        answers = message.get("parent_header", {}).get("msg_id") == header["msg_id"]
        if answers and message["header"]["msg_type"] == "execute_reply":
            return content
    raise Trouble("the server hung up: over its memory limit?")


def at_once(work, people):
    """Do it for everybody at the same time; the first thing to fail is the outcome."""

    def safely(person):
        try:
            work(person)
        except (Trouble, OSError, websocket.WebSocketException) as error:
            if person.outcome == Person.outcome:
                person.outcome = str(error) or type(error).__name__

    threads = [threading.Thread(target=safely, args=(p,), daemon=True) for p in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # Windows hears Ctrl-C only between two waits


def rehearse(hub, names, kernel, cells):
    """A Person for each name, as they fared; nothing of it stays on the hub."""
    hub.check()
    people = [hub.person(name) for name in names]
    try:
        if new := [person.name for person in people if not person.was_there]:
            hub.make_users(new)
        print(f"starting {len(people)} servers ...", flush=True)
        at_once(hub.start, people)
        ready = [person for person in people if person.server]
        print(f"running the notebook in {len(ready)} kernels ...", flush=True)
        at_once(lambda person: hub.run(person, kernel, cells), ready)
    finally:
        print("clearing away ...", flush=True)
        try:
            at_once(hub.clear, people)
        finally:
            if left := [person.name for person in people if not person.cleared]:
                admin = f"{hub.address}hub/admin"
                print(f"left behind, see {admin}: {', '.join(left)}", file=sys.stderr)
    return people


def table(people):
    """A line for each person, then the median and the slowest."""
    lines = [("person", "server", "notebook", "cells")]
    servers = [p.server_seconds for p in people if p.server_seconds]
    notebooks = [p.notebook_seconds for p in people if p.notebook_seconds]
    rows = [(p.name, p.server_seconds, p.notebook_seconds, p.outcome) for p in people]
    ran = f"{len(notebooks)} of {len(people)} ran every cell"
    for name, of in (("median", statistics.median), ("slowest", max)):
        rows.append((name, *(of(n) if n else None for n in (servers, notebooks)), ran))
        ran = ""
    for name, *times, outcome in rows:
        lines.append((name, *(f"{n:.1f} s" if n else "-" for n in times), outcome))
    wide = max(len(name) for name, *_ in lines)
    return "\n".join(f"{a:{wide}}{b:>10}{c:>10}  {d}".rstrip() for a, b, c, d in lines)


def main(arguments=None, hub=Hub):
    """The command; `hub(address, token)` makes the Hub that it asks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("hub", help="its address, such as https://hub.example.org")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--token", default=os.environ.get("JUPYTERHUB_API_TOKEN"))
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--names", help="of users, with commas between")
    options = parser.parse_args(arguments)
    if not options.token:
        parser.error("give --token, or set JUPYTERHUB_API_TOKEN")
    if not options.notebook.exists():
        parser.error(f"there is no {options.notebook}")
    names = [f"rehearsal-{n:02}" for n in range(1, options.people + 1)]
    names = options.names.split(",") if options.names else names
    notebook = nbformat.read(options.notebook, as_version=4)
    cells = [
        (cell.source, "raises-exception" in cell.metadata.get("tags", ()))
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip()
    ]
    kernel = notebook.metadata.get("kernelspec", {}).get("name", "python3")
    try:
        people = rehearse(hub(options.hub, options.token), names, kernel, cells)
    except Trouble as trouble:
        sys.exit(str(trouble))
    except KeyboardInterrupt:
        sys.exit("interrupted")
    print(table(people))
    sys.exit(any(person.notebook_seconds is None for person in people))


if __name__ == "__main__":
    main()
