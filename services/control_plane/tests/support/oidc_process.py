"""A certified OpenID Connect provider in a process of its own, and a browser that signs in there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx2

ROOT = Path(__file__).resolve().parents[4]
_STEPS = 12


@contextmanager
def oidc_provider(**configuration: object) -> Iterator[str]:
    """Run the provider with what `tools/oidc_provider/server.mjs` reads; give its issuer."""
    tool = [sys.executable, str(ROOT / "tools" / "get_oidc_provider.py")]
    home = subprocess.run(
        tool, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    process = subprocess.Popen(
        [shutil.which("node"), "server.mjs"], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        process.stdin.write(json.dumps(configuration) + "\n")
        process.stdin.flush()
        yield json.loads(process.stdout.readline())["issuer"]
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def walk(url: str, login: str, back: str) -> list[tuple[str, str]]:
    """Follow a sign-in as a browser does, consent, and return the query that `back` was reached with."""
    with httpx2.Client(trust_env=False, follow_redirects=False, timeout=20) as browser:
        answer = browser.get(url)
        for _ in range(_STEPS):
            if answer.is_redirect:
                url = str(httpx2.URL(answer.url).join(answer.headers["location"]))
                if url.startswith(back):
                    return parse_qsl(urlsplit(url).query, keep_blank_values=True)
                answer = browser.get(url)
                continue
            assert answer.status_code == 200, (answer.status_code, answer.text)
            prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
            form = {"prompt": prompt[1], "login": login, "password": "any"}
            action = re.search(r'<form[^>]* action="([^"]+)"', answer.text)[1]
            answer = browser.post(str(httpx2.URL(answer.url).join(action)), data=form)
    raise AssertionError(f"{back} was not reached in {_STEPS} steps")


def cookies_of(begun: object) -> dict[str, str]:
    return {begun.cookie_name: begun.cookie}


def names(query: Sequence[tuple[str, str]]) -> set[str]:
    return {name for name, _ in query}
