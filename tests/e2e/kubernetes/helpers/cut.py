"""python3 cut.py cut|heal UID ADDRESS: a pod of this node reaches an address no more, or again.

What is sent there is swallowed, by a route in the pod's own network. The pod is found by its uid, which stands in
the name of its processes' control group. No program of the node is needed for it: the kernel is asked by netlink.
"""

import ipaddress
import os
import socket
import struct
import sys
from pathlib import Path

NEW_ROUTE, DELETE_ROUTE, ERROR = 24, 25, 2
REQUEST, ACKNOWLEDGE, EXCLUSIVE, CREATE = 0x1, 0x4, 0x200, 0x400
MAIN_TABLE, STATIC, UNIVERSE, BLACKHOLE, DESTINATION = 254, 4, 0, 6, 1


def process_of(uid: str) -> int:
    """A process of the pod."""
    names = (uid, uid.replace("-", "_"))  # by cgroupfs, by systemd
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            text = path.read_text()
        except OSError:
            continue
        if any(name in text for name in names):
            return int(path.parent.name)
    sys.exit(f"no process of the pod {uid} on this node")


def change(verb: str, address: str) -> None:
    """Add the route, or take it away, in the network that this process is in."""
    target = ipaddress.ip_address(address)
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    kind, flags = (NEW_ROUTE, CREATE | EXCLUSIVE) if verb == "cut" else (DELETE_ROUTE, 0)
    raw = target.packed
    body = struct.pack(
        "BBBBBBBBI", family, 8 * len(raw), 0, 0, MAIN_TABLE, STATIC, UNIVERSE, BLACKHOLE, 0
    ) + struct.pack("HH", 4 + len(raw), DESTINATION)
    body += raw
    header = struct.pack("IHHII", 16 + len(body), kind, REQUEST | ACKNOWLEDGE | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.send(header + body)
        answer = kernel.recv(4096)
    _, said, _, _, _, number = struct.unpack_from("IHHIIi", answer)
    if said != ERROR or number:
        sys.exit(f"{verb} {address}: {os.strerror(-number)}")


def main() -> None:
    """As the arguments say."""
    verb, uid, address = sys.argv[1:]
    with Path(f"/proc/{process_of(uid)}/ns/net").open() as network:
        os.setns(network.fileno(), os.CLONE_NEWNET)
    change(verb, address)


main()
