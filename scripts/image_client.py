"""One HTTP request to the server of the container it is fed to; prints the answer as JSON."""

import http.client
import json
import os
import sys

asked = json.loads(sys.argv[1])
port = int(os.environ.get("PORT") or 8080)
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=asked["wait"])
connection.request(asked["method"], asked["path"], asked["body"] or None, asked["headers"])
response = connection.getresponse()
text = response.read().decode()
kind = response.getheader("Content-Type", "")
answer = {
    "status": response.status,
    "headers": {name.lower(): value for name, value in response.getheaders()},
    "body": json.loads(text) if "json" in kind else text,
}
print(json.dumps(answer))
