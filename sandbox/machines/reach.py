"""`ProxyCommand` of SSH with `ProxyUseFdpass`: asks the laboratory for a connection and hands it to SSH.

Run as a script, by any Python, with nothing installed: `reach.py SOCKET ADDRESS PORT`. It has to be quick.
"""

import array
import json
import os
import socket
import sys


def main(place: str, address: str, port: str) -> None:
    """Hand the connection over on standard output."""
    directory = os.open(os.path.dirname(place), os.O_PATH | os.O_DIRECTORY)  # noqa: PTH120 - pathlib takes 10 ms
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    asking.connect(f"/proc/self/fd/{directory}/{os.path.basename(place)}")  # noqa: PTH119
    asking.sendall(json.dumps({"do": "connect", "address": address, "port": int(port)}).encode() + b"\n")
    data, received, _, _ = asking.recvmsg(1024, socket.CMSG_SPACE(array.array("i").itemsize))
    if not received:
        answer = json.loads(data or b"{}")
        sys.exit(answer.get("error", {}).get("message", "the laboratory closed the connection"))
    rights = array.array("i", received[0][2])
    with socket.socket(fileno=1) as out:
        out.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


if __name__ == "__main__":
    main(*sys.argv[1:])
