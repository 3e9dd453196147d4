"""How each of our processes begins, before anything is read or listened to."""

from __future__ import annotations

import os
import resource
import sys

from mutx_service.journal import set_up_logging
from mutx_service.notify import take_socket


def begin() -> dict[str, str]:
    """Send what is said to the journal, forbid core files, which would hold texts and keys; return systemd's socket.

    The socket is taken out of the environment: no child is to speak for us.
    """
    set_up_logging(sys.stdout)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return take_socket(os.environ)
