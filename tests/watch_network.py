"""Run lines in bash where nothing that goes out to a network, or to a name server, is unseen.

    unshare --map-root-user --net --mount python tests/watch_network.py FOUND.json < LINES

Needs Linux. The namespaces are this program's own: every address in the world is the machine
itself (a route of the kind that `ip route add local default dev lo` makes), so that a packet for
whatever host passes the one interface there is, where a raw socket sees it, whoever sent it and in
whatever language. Nobody answers, so attempts fail at once. Names are asked for by DNS alone, of a
server that is such an address: no daemon of the real machine answers for them.

FOUND.json is a list: for each line its `status`, what it `said` on standard error, and `attempts`,
one for each distinct packet.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

EVERYTHING = 3  # ETH_P_ALL
OUTGOING = 4  # PACKET_OUTGOING: on the interface to oneself, each packet is also one that arrives
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}
RESOLVER = {"resolv.conf": "nameserver 127.0.0.1\n", "nsswitch.conf": "hosts: files dns\n"}
DAEMON = Path("/run/nscd/socket")  # which the C library asks first, if it runs


def main() -> None:
    """Run the lines of standard input one after the other."""
    switch_on()
    ask_for_names_by_dns()
    found = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(EVERYTHING)) as watched:
        watched.setblocking(False)
        for line in sys.stdin.read().splitlines():
            done = subprocess.run(["bash", "-c", line], stderr=subprocess.PIPE, text=True)
            attempts = {"line": line, "status": done.returncode, "said": done.stderr}
            found.append({**attempts, "attempts": sorted(set(packets(watched)))})
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1))


def switch_on() -> None:
    """Start the interface to oneself, and send everything there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS, up
    for family in (socket.AF_INET, socket.AF_INET6):
        # rtmsg: all addresses; the table of local ones, scope host, type local; then RTA_OIF: lo.
        route = struct.pack("BBBBBBBBI", family, 0, 0, 0, 255, 3, 254, 2, 0)
        route += struct.pack("HHI", 8, 4, socket.if_nametoindex("lo"))
        # RTM_NEWROUTE; request, acknowledge, create.
        message = struct.pack("IHHII", 16 + len(route), 24, 0x1 | 0x4 | 0x400, 1, 0) + route
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.send(message)
            (error,) = struct.unpack_from("i", kernel.recv(4096), 16)
        if error and family == socket.AF_INET:
            raise OSError(-error, os.strerror(-error))


def ask_for_names_by_dns() -> None:
    """Put a configuration of the resolver in the place of the machine's, in this namespace."""
    for name, text in RESOLVER.items():
        with tempfile.NamedTemporaryFile("w", delete=False) as own:
            own.write(text)
        real = Path("/etc", name).resolve()
        if real.is_file():
            subprocess.run(["mount", "--bind", own.name, real], check=True)
        Path(own.name).unlink()
    if DAEMON.exists():
        subprocess.run(["mount", "--bind", "/dev/null", DAEMON], check=True)


def packets(watched: socket.socket):
    """Describe what was sent since the last time: `udp 127.0.0.1:53 www.example.org`."""
    while True:
        try:
            packet, (_, kind, direction, *_) = watched.recvfrom(65535)
        except BlockingIOError:
            return
        if direction == OUTGOING:
            yield described(packet, kind)


def described(packet: bytes, kind: int) -> str:
    if kind == 0x0800:
        start, protocol, address = (packet[0] & 15) * 4, packet[9], packet[16:20]
    elif kind == 0x86DD:
        start, protocol, address = 40, packet[6], packet[24:40]
    else:
        return f"a packet of type {kind:#06x}"
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    where = f"{PROTOCOLS.get(protocol, protocol)} {socket.inet_ntop(family, address)}"
    if protocol not in (6, 17):
        return where
    (port,) = struct.unpack_from("!H", packet, start + 2)
    return f"{where}:{port}" + (f" {asked(packet[start + 20 :])}" if port == 53 else "")


def asked(question: bytes) -> str:
    """Return the name in a DNS query, whose header is passed over."""
    labels = []
    while question and question[0]:
        labels.append(question[1 : question[0] + 1].decode(errors="replace"))
        question = question[question[0] + 1 :]
    return ".".join(labels)


if __name__ == "__main__":
    main()
