"""The agent's own pause: asked for until it is there, lifted only where it is this guard's."""

from __future__ import annotations

import asyncio

import pytest
from mutx_guardrail.runs.pause import OWN_REASON
from mutx_service.problem import Problem
from runs_world import a_world, problem, says

POLICY = {"anomaly": {"error_minimum": 2, "pause_s": 600}}


async def until(is_so):
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.001)


async def fail(world, times=2):
    for _ in range(times):
        with pytest.raises(Problem):
            await world.run()


def failing():
    return a_world(lambda _: problem(500, "x"), POLICY)


def test_an_agent_that_the_watch_pauses_is_asked_to_pause():
    async def story():
        world = failing()
        await fail(world)
        await until(lambda: world.agent.pause["paused"])
        return world

    assert asyncio.run(story()).agent.pause["reason"] == OWN_REASON


def test_one_that_does_not_answer_is_asked_again_ever_more_seldom():
    async def story():
        world = failing()
        await fail(world)
        world.agent.is_gone = True
        world.pauses.ask("a")
        await until(lambda: len(world.slept) >= 10)
        world.agent.is_gone = False
        await until(lambda: world.agent.pause["paused"])
        return world

    slept = asyncio.run(story()).slept
    assert slept[:9] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_nobody_is_asked_on_when_the_guard_s_own_pause_is_over():
    async def story():
        world = failing()
        world.agent.is_gone = True
        await fail(world, 1)
        world.agent.is_gone = True
        await fail(world, 1)
        await until(lambda: len(world.slept) >= 2)
        await world.judging.resume("a")
        await until(lambda: not world.pauses._asking)
        world.agent.is_gone = False
        return world

    assert not asyncio.run(story()).agent.pause["paused"]


def test_a_run_lifts_the_guard_s_own_pause_that_is_over_and_is_sent_again():
    async def story():
        world = a_world(says("fine"))
        await world.pauses.set("a", OWN_REASON)
        return await world.run(), world

    document, world = asyncio.run(story())

    assert (document["output"], world.agent.pause["paused"], len(world.agent.runs)) == ("fine", False, 1)


def test_a_run_leaves_a_pause_that_a_person_made():
    async def story():
        world = a_world(says("fine"))
        await world.pauses.set("a", "looked at")
        with pytest.raises(Problem, match="agent-paused"):
            await world.run()
        return world

    world = asyncio.run(story())

    assert (world.agent.pause["paused"], world.agent.runs) == (True, [])


@pytest.mark.parametrize("hold", ["hold", "errors"])
def test_the_pause_is_not_lifted_while_the_guard_itself_pauses(hold):
    async def story():
        world = failing()
        if hold == "hold":
            await world.judging.hold("a")
        else:
            await fail(world)
        await world.pauses.set("a", OWN_REASON)
        return await world.pauses.lift_own("a"), world

    lifted, world = asyncio.run(story())

    assert (lifted, world.agent.pause["paused"]) == (False, True)


def test_a_pause_that_cannot_be_read_is_not_taken_for_lifted():
    async def story():
        world = a_world()
        world.agent.pause = {"paused": True, "since": "the canary sings"}
        return await world.pauses.lift_own("a")

    assert asyncio.run(story()) is False


def test_a_resume_gives_up_what_asks_for_a_pause():
    async def story():
        world = failing()
        await fail(world)
        await until(lambda: world.agent.pause["paused"])
        world.agent.is_gone = True
        world.pauses.ask("a")
        await until(lambda: world.slept)
        world.agent.is_gone = False
        await world.pauses.clear("a")
        await asyncio.sleep(0.05)
        return world

    assert not asyncio.run(story()).agent.pause["paused"]


def test_an_agent_without_an_address_is_not_asked():
    async def story():
        world = a_world()
        world.pauses.ask("other")
        await asyncio.sleep(0)
        return world

    assert asyncio.run(story()).agent.calls == []
