"""A receiver of signed webhooks, with nothing but Python's standard library.

PORT=8080 WEBHOOK_SECRET=whsec_… python3 receiver.py
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_S = 5 * 60

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
if len(KEY) < 24:
    sys.exit("WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64")


def is_signed(headers, body: bytes) -> bool:
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not webhook_id or not timestamp.isdecimal():
        return False
    if abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    mac = hmac.digest(KEY, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    expected = b"v1," + base64.b64encode(mac)
    # One for each of the sender's secrets. `==` would allow timing attacks.
    offered = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected, signature.encode()) for signature in offered)


def key_in(body: bytes):
    """The key that the webhook is about; None when the body is none that is understood here."""
    try:
        key = json.loads(body)["data"]["key"]
    except (ValueError, TypeError, LookupError):
        return None
    return key if isinstance(key, str) else None


class Receiver(BaseHTTPRequestHandler):
    # An application keeps them in a table, written in one transaction with the work: then neither
    # is there without the other.
    ids = set()
    ids_lock = threading.Lock()

    def do_POST(self):
        try:
            status = self.receive()
        except Exception:
            traceback.print_exc()
            status = 500  # the webhook comes again
        self.send_response(status)
        self.end_headers()

    def receive(self) -> int:
        """The status to answer with."""
        # The raw body: what json.loads and json.dumps make of it has another signature.
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not is_signed(self.headers, body):
            return 401
        webhook_id = self.headers["webhook-id"]
        key = key_in(body)
        if key is None:
            # A route with a custom body. The id is not kept, so that a retry can succeed.
            print(f"{webhook_id}: expected JSON with data.key", file=sys.stderr, flush=True)
            return 400
        with self.ids_lock:
            is_first = webhook_id not in self.ids
            self.ids.add(webhook_id)
        # As JSON: a key may hold a line break.
        line = json.dumps(key, ensure_ascii=False) if is_first else "repeat"
        print(webhook_id, line, flush=True)
        return 204

    def log_message(self, *_):
        """No line for each request."""


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver).serve_forever()
