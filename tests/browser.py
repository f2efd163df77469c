"""A real browser for tests of pages, without a window; `make test` installs it. It speaks the DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(sys.prefix) / "browser" / "chromium"
OPTIONS = ("--headless=shell", "--no-sandbox", "--no-zygote", "--disable-gpu", "--remote-debugging-pipe")
# The protocol's pipes are the files 3 and 4 of the browser.
START = "import os, sys; r, w = map(os.dup, map(int, sys.argv[1:3])); a, b = os.dup2(r, 63), os.dup2(w, 64); "
START += "os.dup2(a, 3), os.dup2(b, 4), os.execv(sys.argv[3], sys.argv[3:])"


class Browser:
    """One page at a time; a context, which ends the browser."""

    def __init__(self, folder: Path) -> None:
        """`folder`: for the browser's own files."""
        if not PROGRAM.is_file():
            raise FileNotFoundError(f"{PROGRAM} is missing: make {PROGRAM.parent.parent.name}/browser/chromium")
        heard, own_write = os.pipe()
        own_read, said = os.pipe()
        command = [sys.executable, "-c", START, str(heard), str(said), str(PROGRAM)]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(PROGRAM.parent / "lib"), "HOME": str(folder)}
        self.process = subprocess.Popen(
            [*command, *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(heard, said),
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        os.close(heard)
        os.close(said)
        self.write, self.read = os.fdopen(own_write, "wb", 0), os.fdopen(own_read, "rb", 0)
        self.numbers, self.left, self.session = itertools.count(1), b"", None
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Network.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.write.close()
        self.read.close()
        self.process.kill()
        self.process.wait()

    def message(self) -> dict:
        while b"\0" not in self.left:
            more = self.read.read(1 << 20)
            if not more:
                raise EOFError("the browser ended")
            self.left += more
        first, self.left = self.left.split(b"\0", 1)
        return json.loads(first)

    def call(self, method: str, **parameters: object) -> dict:
        number = next(self.numbers)
        said = {"id": number, "method": method, "params": parameters}
        if self.session is not None:
            said["sessionId"] = self.session
        self.write.write(json.dumps(said).encode() + b"\0")
        while (answer := self.message()).get("id") != number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, page: Path, width: int, height: int = 900) -> list[str]:
        """Show a page at a width; the addresses that it asked for, its own first."""
        self.resize(width, height)
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())
        sent = (event for event in self.events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def resize(self, width: int, height: int = 900) -> None:
        """Show the page at another width."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def value(self, expression: str) -> object:
        """The value of an expression in the page's script."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def dark(self, on: bool) -> None:
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if on else "light"}],
        )
