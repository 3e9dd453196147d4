"""Who may ask what: the control plane for every agent, an agent's own certificate for itself alone."""

from __future__ import annotations

from mutx_service.peer import Peer, check_caller
from mutx_service.problem import Problem

from mutx_guardrail.service.settings import Settings


class Callers:
    """The permitted callers of one service; on plain HTTP (loopback only) everybody is one."""

    def __init__(self, settings: Settings) -> None:
        self._is_open = settings.tls is None
        self._any = settings.callers
        self._own = {address.certificate: name for name, address in settings.agents.items()}

    def check(self, peer: Peer) -> None:
        """Let a permitted caller pass.

        Raises:
            Problem: `caller-refused` or `caller-expired`.
        """
        if not self._is_open:
            check_caller(peer, self._any | self._own.keys())

    def check_agent(self, peer: Peer, agent: str) -> None:
        """Let a caller ask about an agent.

        Raises:
            Problem: `agent-foreign`, where it is an agent and asks about another one, or about none.
        """
        if self._is_open or peer.names & self._any:
            return
        if agent not in {self._own[name] for name in peer.names if name in self._own}:
            raise Problem("agent-foreign")

    def check_operator(self, peer: Peer) -> None:
        """Let the control plane alone pass.

        Raises:
            Problem: `caller-refused`.
        """
        if not self._is_open and not peer.names & self._any:
            raise Problem("caller-refused")
