"""Attacks that look for a way out over a socket of any kind."""

from tests.sandboxes.attacks.attack import Attack

_FAMILY = """
try:
    socket.socket(socket.{family}, socket.{kind}, {protocol})
    escaped("a socket of {family}")
except OSError:
    pass
"""


def _family(name: str, family: str, kind: str, protocol: str, about: str) -> Attack:
    body = _FAMILY.format(family=family, kind=kind, protocol=protocol)
    return Attack(name, "network", about, f"a socket of {family}", body)


ATTACKS = (
    Attack("dns", "network", "Resolve a name through the C library.", "an address", """
        try:
            escaped(socket.getaddrinfo("example.org", 80))
        except OSError:
            pass
        """),
    Attack("dns_by_hand", "network", "Send a DNS question to well-known servers and to those of resolv.conf.", "an answer", """
        servers = [x.split()[1] for x in read("/etc/resolv.conf").decode().splitlines() if x.startswith("nameserver")]
        question = b"\\x12\\x34\\x01\\0\\0\\x01" + bytes(6) + b"\\x07example\\x03org\\0\\0\\x01\\0\\x01"
        for server in {*servers, "198.51.100.53", "127.0.0.11", "127.0.0.53"}:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.settimeout(0.2)
            try:
                s.sendto(question, (server, 53))
                escaped(f"{server}: {s.recv(500)}")
            except OSError:
                pass
        """),
    Attack("metadata_address", "network", "Ask the cloud's metadata service for credentials, over IPv4 and IPv6.", "a connection", """
        for address in [("169.254.169.254", 80), ("169.254.170.2", 80), ("100.100.100.200", 80), ("fd00:ec2::254", 80, 0, 0)]:
            s = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            s.settimeout(0.3)
            if s.connect_ex(address) == 0:
                escaped(address)
        """),
    Attack("host_by_tcp", "network", "Connect to the host's own addresses, where a test has opened a port.", "a connection", """
        for host in BAIT["addresses"]:
            s = socket.socket()
            s.settimeout(0.3)
            if s.connect_ex((host, BAIT["port"])) == 0:
                escaped(f"{host}:{BAIT['port']}")
        """),
    Attack("packets_out", "network", "Send a datagram to a broadcast, a multicast and a public address.", "a datagram that left", """
        for address in ["255.255.255.255", "224.0.0.1", "198.51.100.1", "172.17.0.1"]:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            try:
                s.sendto(b"x", (address, 9))
                escaped(f"sent to {address}")
            except OSError:
                pass
        """),
    Attack("interfaces", "network", "Look for an interface with a way out.", "an interface that is up and not the loopback", """
        import fcntl
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _, name in socket.if_nameindex():
            flags = struct.unpack("16xH", fcntl.ioctl(s, 0x8913, struct.pack("16s16x", name.encode()))[:18])[0]
            if flags & 1 and name != "lo":
                escaped(f"{name} is up")
        routes = read("/proc/net/route").decode().splitlines()[1:]
        if routes:
            escaped(routes)
        """),
    _family("raw_socket", "AF_INET", "SOCK_RAW", "socket.IPPROTO_TCP", "Forge packets."),
    _family("raw_socket_ipv6", "AF_INET6", "SOCK_RAW", "socket.IPPROTO_ICMPV6", "Forge ICMPv6 packets."),
    _family("packet_socket", "AF_PACKET", "SOCK_RAW", "0x0300", "Read every frame of the machine."),
    _family("vsock", "AF_VSOCK", "SOCK_STREAM", "0", "Talk to the hypervisor, past the network namespace (not namespaced)."),
    _family("kernel_crypto_socket", "AF_ALG", "SOCK_SEQPACKET", "0", "Reach the kernel's crypto code."),
    _family("tipc_socket", "AF_TIPC", "SOCK_STREAM", "0", "Have the kernel load a rarely tested protocol."),
    _family("bluetooth_socket", "AF_BLUETOOTH", "SOCK_RAW", "1", "Talk to a device of the host."),
    _family("can_socket", "AF_CAN", "SOCK_RAW", "1", "Talk to a bus of the host."),
    _family("netlink_audit", "AF_NETLINK", "SOCK_RAW", "9", "Write to the kernel's audit log."),
    _family("netlink_events", "AF_NETLINK", "SOCK_RAW", "15", "Hear of the host's devices."),
    _family("netlink_netfilter", "AF_NETLINK", "SOCK_RAW", "12", "Reach nftables, a frequent way into the kernel."),
    _family("netlink_xfrm", "AF_NETLINK", "SOCK_RAW", "6", "Reach the kernel's IPsec code."),
    Attack("other_families", "network", "Try each address family there is.", "one besides Unix, IPv4, IPv6 and netlink's routes", """
        for family in set(range(2, 64)) - {socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}:
            for kind in (1, 2, 3, 5):
                value, _ = call("socket", family, kind, 0)
                if value >= 0:
                    escaped(f"family {family}, kind {kind}")
        """),
    Attack("netlink_add_link", "network", "Make an interface and set an address through netlink.", "an accepted request", """
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        body = struct.pack("BxHiII", 0, 0, 1, 1, 1)  # Bring up interface 1.
        s.send(struct.pack("IHHII", 16 + len(body), 16, 5, 1, 0) + body)
        answer = s.recv(4096)
        if struct.unpack_from("i", answer, 16)[0] == 0:
            escaped("changed an interface")
        """),
    Attack("host_unix_sockets", "network", "Connect to the daemons of the host by their sockets.", "docker.sock or another", """
        places = [d + x for d in ("/var/run/", "/run/") for x in (
            "docker.sock", "containerd/containerd.sock", "docker/containerd/containerd.sock", "podman/podman.sock",
            "dbus/system_bus_socket", "systemd/private", "systemd/journal/socket", "crio/crio.sock", "snapd.socket")]
        for place in [*places, "/dev/log", "/tmp/.X11-unix/X0", "/tmp/ray/session_latest/sockets/raylet", BAIT["unix"]]:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                if socket.socket(socket.AF_UNIX, kind).connect_ex(place) == 0:
                    escaped(place)
        """),
    Attack("host_abstract_socket", "network", "Connect to an abstract socket, which has no file to hide.", "a connection", """
        if socket.socket(socket.AF_UNIX).connect_ex("\\0" + BAIT["abstract"]) == 0:
            escaped(BAIT["abstract"])
        names = [x.split()[7] for x in read("/proc/net/unix").decode().splitlines()[1:] if len(x.split()) > 7]
        if names:
            escaped(names)
        """),
)  # fmt: skip
