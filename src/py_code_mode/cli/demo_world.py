"""What the demo plays with: a web server, two tools and a wheel, all of this machine."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

PACKAGE: Final = "demo-slugs"

#: Definitions by name, as files would have them.
TOOLS: Final = {
    "curl": """\
name: curl
description: Make HTTP requests
command: curl
args: [-q, --proto, "=http,https", --silent, --fail]
schema:
  positional:
    - {name: url, type: string, required: true, description: What to get}
recipes:
  get: {description: Get what is at a URL}
""",
    "jq": """\
name: jq
description: Query JSON
command: jq
network: false
args: [--compact-output]
output: json
schema:
  positional:
    - {name: filter, type: string, required: true, description: 'Such as .items[0]'}
  stdin: {name: input, required: true, description: The JSON text}
recipes:
  query: {description: Apply a filter that has one result}
""",
}

_MODULE: Final = '''\
"""Texts for URLs."""


def slug(text):
    return "-".join(text.lower().split())
'''

_PRICES: Final = {"prices": [{"day": "mon", "price": 3}, {"day": "tue", "price": 4}]}


def write_wheel(folder: Path) -> Path:
    """Write a wheel of PACKAGE with one module, ``demo_slugs``; returns its path."""
    info = "demo_slugs-1.0.dist-info"
    files = {
        "demo_slugs.py": _MODULE,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "demo_slugs-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@contextmanager
def web_server() -> Iterator[str]:
    """Serve a small JSON document on loopback; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prices)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/prices"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Prices(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(_PRICES).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Print nothing between the steps."""
