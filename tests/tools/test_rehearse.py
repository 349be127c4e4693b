"""The rehearsal of a class, on a hub that a thread plays."""

import _thread
import json
import re
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nbformat
import pytest
import websocket

from tools.workshop import rehearse

CELLS = [("a = 1", False), ("b = 2", False), ("c = 3", False)]


class Kernel:
    """A kernel's websocket: says what a kernel says, and keeps the code it was sent."""

    def __init__(self, says):
        self.says, self.ran, self.frames = says, [], []

    def send(self, text):
        request = json.loads(text)
        code = request["content"]["code"]
        self.ran.append(code)
        told = self.says.get(code, {"status": "ok"})
        if callable(told):
            told = told()
        kind = "status" if "execution_state" in told else "execute_reply"
        of_another = {"msg_id": "of another"}
        wrong = {"status": "error", "ename": "Wrong", "evalue": ""}
        self.frames += [
            b"\x00 a picture",
            self.message("status", {"execution_state": "busy"}, request["header"]),
            self.message("execute_reply", wrong, of_another),
            "" if told == {} else self.message(kind, told, request["header"]),
        ]

    def message(self, kind, content, parent):
        header = {"msg_type": kind}
        return json.dumps(
            {"header": header, "parent_header": parent, "content": content}
        )

    def recv(self):
        return self.frames.pop(0)


class FakeHub:
    """Users, servers and tokens as JupyterHub 5 answers for them."""

    def __init__(self):
        self.users, self.asked, self.stopping = {}, [], []
        self.scopes, self.fails, self.says, self.kernels = rehearse.SCOPES, {}, {}, {}

    def answer(self, method, path, token, body):
        self.asked.append((method, path))
        if path == "/hub/api":
            return 200, {"version": "5"}
        if token != "token right":
            return 403, {"message": "Forbidden"}
        if path == "/hub/api/user":
            return 200, {"scopes": sorted(self.scopes)}
        if path == "/hub/api/users":
            self.users |= {name: False for name in body["usernames"]}
            return 201, [{"name": name} for name in body["usernames"]]
        if kernel := re.match(r"/user/([\w-]+)/api/kernels", path):
            return (201, {"id": kernel[1]}) if method == "POST" else (204, {})
        name, what = re.match(r"/hub/api/users/([\w-]+)/?(.*)", path).groups()
        if name not in self.users:
            return 404, {"message": "Not Found"}
        return self.of_user(method, name, what)

    def of_user(self, method, name, what):
        if (method, what) == ("GET", ""):
            return 200, {"name": name, "servers": {"": {}} if self.users[name] else {}}
        if (method, what) == ("POST", "server"):
            self.users[name] = name not in self.fails
            return (202, {}) if self.users[name] else (500, {"message": "error"})
        if what == "server/progress":
            if name in self.fails:
                return 200, {"failed": True, "message": self.fails[name]}
            return 200, {"ready": True, "url": f"/user/{name}/"}
        if self.stopping:
            return self.stopping.pop(), {"message": "is pending, please wait"}
        if what == "server":
            self.users[name] = False
        else:
            del self.users[name]
        return 204, {}

    def connect(self, address, headers):
        assert headers == {"Authorization": "token right"}
        name = re.fullmatch(r"ws://[\d.:]+/user/(.+)/api/kernels/\1/channels", address)[
            1
        ]
        self.kernels[name] = Kernel(self.says.get(name, {}))
        return self.kernels[name]


@pytest.fixture
def hub():
    fake = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self):
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or "null")
            token = self.headers.get("Authorization")
            status, content = fake.answer(self.command, self.path, token, body)
            self.send_response(status)
            self.end_headers()
            events = b"data: " if self.path.endswith("/progress") else b""
            if status != 204:
                self.wfile.write(events + json.dumps(content).encode() + b"\n\n")

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    fake.address = f"http://127.0.0.1:{server.server_port}"
    fake.made = partial(rehearse.Hub, connect=fake.connect, pause=0)
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


def run(hub, names=("anna", "ben"), cells=CELLS, **options):
    asked = hub.made(hub.address, "right", **options)
    people = rehearse.rehearse(asked, list(names), "python3", cells)
    return {person.name: person for person in people}


# --- what a class does ------------------------------------------------------------


def test_everybody_runs_every_cell_in_order_and_nothing_stays(hub):
    people = run(hub)
    for name in ("anna", "ben"):
        assert hub.kernels[name].ran == [code for code, _ in CELLS]
        assert people[name].outcome == "all 3 ran"
        assert people[name].cleared
    assert hub.users == {}


def test_the_cell_that_fails_is_named_and_the_others_go_on(hub):
    wrong = {"status": "error", "ename": "NameError", "evalue": "no x\nno y"}
    hub.says = {"ben": {"b = 2": wrong}}
    people = run(hub)
    assert people["ben"].outcome == "cell 2: NameError: no x"
    assert people["ben"].notebook_seconds is None
    assert hub.kernels["ben"].ran == ["a = 1", "b = 2"]
    assert people["anna"].outcome == "all 3 ran"
    assert hub.users == {}


def test_a_cell_that_is_meant_to_fail_may(hub):
    hub.says = {"anna": {"b = 2": {"status": "error", "ename": "E", "evalue": ""}}}
    cells = [CELLS[0], ("b = 2", True), CELLS[2]]
    assert run(hub, ["anna"], cells)["anna"].outcome == "all 3 ran"


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ({"execution_state": "restarting"}, "the kernel was killed"),
        ({}, "the server hung up"),
    ],
)
def test_a_kernel_over_its_memory_is_said_to_be(hub, says, why):
    hub.says = {"anna": {"c = 3": says}}
    people = run(hub)
    assert people["anna"].outcome == f"cell 3: {why}: over its memory limit?"
    assert people["ben"].outcome == "all 3 ran"
    assert hub.users == {}


def test_a_kernel_that_never_came_up_is_looked_for_in_the_log(hub):
    def lost():
        raise websocket.WebSocketConnectionClosedException("Connection was lost.")

    hub.says = {"ben": {"a = 1": lost}}
    people = run(hub)
    assert people["ben"].outcome == (
        "cell 1: Connection was lost; look into the server's log"
    )
    assert people["anna"].outcome == "all 3 ran"


def test_a_server_that_does_not_start_says_why(hub):
    hub.fails = {"ben": "Spawn failed: the disk is full"}
    people = run(hub)
    assert people["ben"].outcome == (
        "no server: Spawn failed: the disk is full; look into the hub's log"
    )
    assert people["ben"].server_seconds is None
    assert people["anna"].outcome == "all 3 ran"
    assert hub.users == {}


# --- what is left behind ----------------------------------------------------------


def test_who_was_there_stays_and_so_does_a_server_that_ran(hub):
    hub.users = {"anna": True, "ben": False}
    run(hub, ["anna", "ben", "cleo"])
    assert hub.users == {"anna": True, "ben": False}
    deleted = {path for method, path in hub.asked if method == "DELETE"}
    assert "/user/anna/api/kernels/anna" in deleted
    assert "/hub/api/users/ben/server" in deleted


def test_ctrl_c_leaves_nothing(hub, ctrl_c):
    hub.says = {"anna": {"b = 2": lambda: _thread.interrupt_main() or {}}}
    with pytest.raises(KeyboardInterrupt):
        run(hub)
    assert hub.users == {}


def test_a_server_on_its_way_is_waited_for(hub):
    hub.stopping = [400, 202, 400]
    run(hub, ["anna"])
    assert hub.stopping == []
    assert hub.users == {}


def test_what_does_not_go_is_named(hub, capsys):
    hub.stopping = [400] * 9
    run(hub, ["anna"], clearing=-1)
    assert re.search(
        r"left behind, see http://.*/hub/admin: anna", capsys.readouterr().err
    )


# --- messages ---------------------------------------------------------------------


def test_a_wrong_token_is_said_with_where_to_make_one(hub):
    with pytest.raises(rehearse.Trouble, match=r"not know this token: .*/hub/token$"):
        rehearse.Hub(hub.address, "wrong").check()


def test_a_token_without_rights_is_said_with_the_rights(hub):
    hub.scopes = {"admin:users"}
    with pytest.raises(rehearse.Trouble, match="lacks access:servers, admin:servers"):
        run(hub)
    assert not any(method == "POST" for method, _ in hub.asked)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((200, {"a page": "of something"}), "no JupyterHub at http"),
        ((503, {}), "says Service Unavailable: does the hub run"),
    ],
)
def test_an_address_without_a_hub_is_said(hub, answer, why):
    hub.answer = lambda *_: answer
    with pytest.raises(rehearse.Trouble, match=why):
        run(hub)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "hub.example.org"])
def test_an_address_that_does_not_answer_is_said_in_one_line(address, tmp_path):
    path = tmp_path / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    with pytest.raises(SystemExit, match=f"^{address}/ does not answer .*hub run.$"):
        rehearse.main([address, str(path), "--token", "t"])


def test_the_command_prints_the_table_and_fails_when_somebody_did(
    hub, tmp_path, capsys
):
    path = tmp_path / "n.ipynb"
    cells = [nbformat.v4.new_code_cell(code) for code in ("a = 1", " ", "b = 2")]
    cells.insert(0, nbformat.v4.new_markdown_cell("# Words"))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    command = [hub.address, str(path), "--token", "right", "--people", "3"]
    hub.says = {"rehearsal-02": {"b = 2": {"status": "error", "ename": "Oops"}}}
    with pytest.raises(SystemExit) as ended:
        rehearse.main(command, hub.made)
    assert ended.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"rehearsal-01 +\d\.\d s +\d\.\d s +all 2 ran", lines[-5])
    assert re.fullmatch(r"rehearsal-02 +\d\.\d s +- +cell 2: Oops", lines[-4])
    assert re.fullmatch(r"median .* 2 of 3 ran every cell", lines[-2])


def test_median_and_slowest_by_hand():
    people = [
        rehearse.Person(name, True, True, "", "", n, 10 * n, "all 2 ran")
        for name, n in (("a", 1.0), ("b", 2.0), ("c", 6.0))
    ]
    *_, median, slowest = rehearse.table(people).splitlines()
    assert re.fullmatch(r"median +2.0 s +20.0 s +3 of 3 ran every cell", median)
    assert re.fullmatch(r"slowest +6.0 s +60.0 s", slowest)
