"""The double as another process uses it: its console script, its control paths, both dialects."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

SCRIPT = Path(sys.executable).parent / "mutx-provider-double"
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    process = subprocess.Popen([str(SCRIPT), "--key", "made-up"], stdout=subprocess.PIPE, text=True)
    with process:
        yield json.loads(process.stdout.readline())
        process.terminate()
    assert process.returncode == 0


def ask_openai(urls, key="made-up", **more):
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.post(f"{urls['openai']}/chat/completions", json=HELLO | more, headers=headers)


def ask_anthropic(urls, **more):
    return httpx2.post(
        f"{urls['anthropic']}/v1/messages", json=HELLO | more, headers={"x-api-key": "made-up"}
    )


def test_without_a_script_it_says_back_what_it_heard(urls):
    assert ask_openai(urls).json()["choices"][0]["message"]["content"] == "echo: hello"
    assert ask_anthropic(urls).json()["content"] == [{"type": "text", "text": "echo: hello"}]


def test_both_dialects_stream(urls):
    assert ask_openai(urls, stream=True).text.endswith("data: [DONE]\n\n")
    assert "event: message_stop" in ask_anthropic(urls, stream=True).text


def test_a_script_is_played_once_and_each_call_is_recorded(urls):
    httpx2.post(f"{urls['control']}script", json=[{"status": 429, "retry_after": "2"}])
    before = len(httpx2.get(f"{urls['control']}calls").json()["calls"])

    limited, fine, refused = ask_openai(urls), ask_openai(urls), ask_openai(urls, key="other")

    calls = httpx2.get(f"{urls['control']}calls").json()["calls"][before:]
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "2")
    assert (fine.status_code, refused.status_code) == (200, 401)
    assert [(call["key"], call["status"]) for call in calls] == [
        ("made-up", 429),
        ("made-up", 200),
        ("other", 401),
    ]


def test_the_keys_that_it_takes_can_be_changed(urls):
    httpx2.put(f"{urls['control']}keys", json=["made-up", "later"])

    assert ask_openai(urls, key="later").status_code == 200
