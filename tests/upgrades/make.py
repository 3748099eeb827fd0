#!/usr/bin/env python3
"""Fills a data directory with a built `twofold` and packs it: what `tests/it/upgrade` opens with every later build.

usage: make.py BINARY COMMIT

Writes `VERSION-COMMIT.tar.gz` beside itself. Events are a function of their number (`event` here, and in the test): 0 to
499 are archived, at least 0 to 399 of them published, 500 to 599 are in the log alone, whose process is killed. Realtime
views are in a Redis, whose keys are packed, too. Run it once per release, with that release's binary, and commit what it
writes; what is there already stays, so that every former version is opened for ever.
"""

import base64
import gzip
import io
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).parent
PATIENCE_SECONDS = 120


def event(number):
    """The lines of one event: itself, its copy, or a record that is no event behind it."""
    amount = "many" if number % 50 == 7 else number
    line = json.dumps(
        {
            "id": f"e{number}",
            "time": f"2026-01-05T{number // 60 % 24:02}:{number % 60:02}:00Z",
            "page": f"/{number % 4}",
            "amount": amount,
            "price": number + 0.25,
            "weight": number / 2,
            "tags": [f"t{number % 3}"],
        }
    )
    copies = [line] if number % 40 == 3 else []
    broken = [f"no event {number}"] if number % 100 == 99 else []
    return [line, *copies, *broken]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Redis:
    """A Redis of its own, and as much of its protocol as is needed to read what it holds."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.ask("PING") and None
            except OSError:
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.1)

    def ask(self, *words):
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            parts = [word.encode() if isinstance(word, str) else word for word in words]
            sent = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            connection.sendall(b"*%d\r\n%s" % (len(parts), sent))
            return self.read(connection.makefile("rb"))

    def read(self, answer):
        kind, rest = (line := answer.readline())[:1], line[1:].strip()
        assert kind in b"+:$*", line
        if kind == b"$":
            return answer.read(int(rest) + 2)[:-2]
        return [self.read(answer) for _ in range(int(rest))] if kind == b"*" else rest

    def contents(self):
        keys = sorted(self.ask("KEYS", "*"))
        return {key.decode(): base64.b64encode(self.ask("GET", key)).decode() for key in keys}

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)


class System:
    """A running `twofold up`."""

    def __init__(self, binary, folder, redis, commit_interval):
        self.address = f"127.0.0.1:{free_port()}"
        self.binary, self.folder = binary, folder
        settings = {
            "TWOFOLD_ARCHIVE__COMMIT_INTERVAL": commit_interval,
            "TWOFOLD_BATCH__INTERVAL": "1d",
            "TWOFOLD_LAKE__CHECKPOINT_INTERVAL": "2",
            "TWOFOLD_REALTIME__STORE": redis.url,
            "PATH": "/usr/bin:/bin",
        }
        command = [binary, "up", *self.where(), "--listen", self.address]
        self.log = open(folder / "up.log", "a")
        self.process = subprocess.Popen(command, env=settings, stdout=self.log, stderr=self.log)
        self.wait("it is ready", lambda: self.get("/readyz")["ready"])

    def where(self):
        return ["--pipeline", str(self.folder / "pipeline.sql"), "--data-dir", str(self.folder / "data")]

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return json.load(answer)

    def wait(self, what, condition):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"make: never came: {what}\n{(self.folder / 'up.log').read_text()}")
            time.sleep(0.1)

    def send(self, numbers):
        lines = [line for number in numbers for line in event(number)]
        request = urllib.request.Request(
            f"http://{self.address}/v1/sources/hits/events",
            data="\n".join(lines).encode(),
            headers={"content-type": "application/x-ndjson"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            receipt = json.load(answer)
        assert receipt["accepted"] + receipt["rejected"] == len(lines), receipt
        return receipt["token"]

    def archived(self):
        partitions = self.get("/v1/status")["sources"][0]["partitions"]
        return sum(partition["archived"] or 0 for partition in partitions)

    def publish(self):
        """A cut needs a silence behind the last record."""

        def is_published():
            run = [self.binary, "batch", "run", *self.where()]
            environment = {"PATH": "/usr/bin:/bin"}
            return subprocess.run(run, env=environment, capture_output=True, text=True).stdout.count(" published,") == 2

        self.wait("both views are published", is_published)

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(PATIENCE_SECONDS)
        self.log.close()


def records(numbers):
    return sum(len(event(number)) for number in numbers)


def fill(binary, folder, redis):
    system = System(binary, folder, redis, "50ms")
    system.send(range(400))
    system.wait("the first events are archived", lambda: system.archived() == records(range(400)))
    system.publish()
    system.send(range(400, 500))
    system.wait("the next events are archived", lambda: system.archived() == records(range(500)))
    system.end(signal.SIGTERM)
    # Nothing of these is archived before the process is killed.
    system = System(binary, folder, redis, "1d")
    token = system.send(range(500, 600))
    system.get(f"/v1/views/by_hour/rows?by=&after={token}&timeout=30s")
    assert system.archived() == records(range(500)), system.archived()
    system.end(signal.SIGKILL)
    (folder / "realtime.json").write_text(json.dumps(redis.contents(), indent=1))


def packed(folder):
    """What there is as an archive that says nothing of this machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in [folder / "realtime.json", *sorted((folder / "data").rglob("*"))]:
            entry = tarfile.TarInfo(str(path.relative_to(folder)))
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o700
                archive.addfile(entry)
            elif entry.name not in ("data/lock", "data/run.json"):
                entry.size, entry.mode = path.stat().st_size, 0o600
                with path.open("rb") as file:
                    archive.addfile(entry, file)
    return gzip.compress(buffer.getvalue(), mtime=0)


def main():
    binary, commit = str(pathlib.Path(sys.argv[1]).resolve()), sys.argv[2]
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    target = HERE / f"{version}-{commit}.tar.gz"
    if target.exists():
        sys.exit(f"make: {target.name} is there already, and stays as it was written")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for name in ("pipeline.sql", "pages.csv"):
            shutil.copy(HERE / name, folder)
        redis = Redis(folder)
        try:
            fill(binary, folder, redis)
        finally:
            redis.end()
        target.write_bytes(packed(folder))
    print(f"{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
