"""Make the Secrets that are missing, with random values; leave those that exist alone. Runs in a Job, once."""
# ruff: noqa: INP001 - a script in a ConfigMap, no package

import json
import secrets
import ssl
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

API = "https://kubernetes.default.svc"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LABELS = {
    "app.kubernetes.io/name": "kuber-cron",
    "app.kubernetes.io/instance": "kuber-cron",
    "app.kubernetes.io/part-of": "kuber-cron",
}
TRIES, PAUSE_SECONDS = 60, 1.0  # the Role, DNS and the network of a new pod may take a moment
EXISTS = 409


def create(name: str, key: str, value: str) -> str:
    """What became of it. Raises OSError where the API server does not answer, or refuses."""
    namespace = (ACCOUNT / "namespace").read_text(encoding="utf-8")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": LABELS},
        "stringData": {key: value},
    }
    request = urllib.request.Request(  # noqa: S310 - https, as above
        f"{API}/api/v1/namespaces/{namespace}/secrets",
        json.dumps(secret).encode(),
        {
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text(encoding='utf-8')}",
            "Content-Type": "application/json",
        },
    )
    tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    # Python 3.13 asks more of a CA than Kubernetes does: some clusters' have no key usage.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with urllib.request.urlopen(request, timeout=5, context=tls):  # noqa: S310 - the same
            return "made"
    except urllib.error.HTTPError as error:
        if error.code == EXISTS:
            return "is there already, and stays as it is"
        raise


def main() -> int:
    """The exit status: 0 once all of them are there."""
    # The password stands in a URL too, so it is URL-safe.
    wanted = {"kuber-cron-redis": ("password", 24), "kuber-cron-signing": ("key", 32)}
    pause = threading.Event()
    for name, (key, size) in wanted.items():
        for tries_left in reversed(range(TRIES)):
            try:
                sys.stdout.write(f"Secret {name}: {create(name, key, secrets.token_urlsafe(size))}\n")
                break
            except OSError as error:
                sys.stderr.write(f"Secret {name}: {error}\n")
                if not tries_left:
                    return 1
                pause.wait(PAUSE_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
