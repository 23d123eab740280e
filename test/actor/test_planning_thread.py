"""The actor's thread: newest state first, and Mode-1 where a plan breaks or does not end."""
from dataclasses import replace
import threading
import time

import numpy as np
import pytest
import tiny
import torch

from jepa_ros.actor.actor import PLANNED, REACTIVE
from jepa_ros.actor.planning_thread import Job, PlanningThread, react, Settings
from jepa_ros.cost.cost import Goal
from jepa_ros.perception.perception import EncodedState


@pytest.fixture(scope='module')
def agent():
    return tiny.agent()


def settings(agent, **changes) -> Settings:
    goal = Goal(levels=agent.perception.encode({'overhead': tiny.image(5)}).levels)
    return Settings(**{'version': 1, 'goal': goal, 'weights': {}, 'mode': 'auto', 'budget_ms': 1000.0, **changes})


def job(agent, stamp: int = 0) -> Job:
    return Job(agent.perception.encode({'overhead': tiny.image(stamp)}), stamp, 0.0, None, 0.0)


class Bench:
    """A thread with what it delivered."""

    def __init__(self, actor):
        self.delivered, self.failures, self.news = [], [], threading.Semaphore(0)
        self.thread = PlanningThread(actor, self._deliver, self._fail)

    def _deliver(self, settings, job, decision):
        self.delivered.append((job.stamp_ns, decision))
        self.news.release()

    def _fail(self, line):
        self.failures.append(line)
        self.news.release()


@pytest.fixture
def bench():
    made: list[Bench] = []

    def make(actor) -> Bench:
        made.append(Bench(actor))
        return made[-1]
    yield make
    for one in made:
        one.thread.stop()


def test_a_state_gets_a_plan(agent, bench):
    b = bench(agent.new_actor())
    b.thread.configure(settings(agent))
    b.thread.submit(job(agent, 3))
    assert b.news.acquire(timeout=10)
    stamp, decision = b.delivered[0]
    assert (stamp, decision.mode, decision.degradation) == (3, PLANNED, '')


def test_without_a_goal_nothing_is_decided(agent, bench):
    b = bench(agent.new_actor())
    b.thread.submit(job(agent, 1))
    b.thread.configure(settings(agent))  # a goal does not wake an older state either
    b.thread.submit(job(agent, 2))
    assert b.news.acquire(timeout=10)
    assert [stamp for stamp, _ in b.delivered] == [2]


def test_while_a_plan_runs_older_states_are_passed_over(agent, bench):
    running, go_on = threading.Event(), threading.Event()
    actor = agent.new_actor()
    plan = actor.act

    def slow(*args, **kwargs):
        running.set()
        assert go_on.wait(10)
        return plan(*args, **kwargs)
    actor.act = slow
    b = bench(actor)
    b.thread.configure(settings(agent))
    b.thread.submit(job(agent, 1))
    assert running.wait(10) and b.thread.busy_s() > 0
    b.thread.submit(job(agent, 2))
    b.thread.submit(job(agent, 3))
    go_on.set()
    assert b.news.acquire(timeout=10) and b.news.acquire(timeout=10)
    assert [stamp for stamp, _ in b.delivered] == [1, 3]


def test_a_plan_that_breaks_is_replaced_by_mode_1_and_says_so(agent, bench):
    b = bench(agent.new_actor())
    b.thread.configure(settings(agent))
    b.thread.submit(replace(job(agent, 1), previous_action=np.zeros(7), delay_s=0.05))  # of another robot
    assert b.news.acquire(timeout=10)
    _, decision = b.delivered[0]
    assert decision.mode == REACTIVE and decision.degradation.startswith('planner failed (RuntimeError')


def test_after_a_state_that_nothing_can_be_done_with_the_next_one_is_planned_for(agent, bench):
    b = bench(agent.new_actor())
    b.thread.configure(settings(agent))
    b.thread.submit(replace(job(agent, 1), state=EncodedState((torch.zeros(3),) * 2, {})))
    assert b.news.acquire(timeout=10)
    assert b.delivered == [] and 'and so did Mode-1' in b.failures[0]
    b.thread.submit(job(agent, 2))
    assert b.news.acquire(timeout=10)
    assert [(stamp, decision.mode) for stamp, decision in b.delivered] == [(2, PLANNED)]


def test_mode_1_acts_at_once_and_gives_the_reason(agent):
    decision = react(agent.new_actor(), settings(agent), job(agent, 1), 'no plan for 0.20 s')
    assert (decision.mode, decision.degradation) == (REACTIVE, 'no plan for 0.20 s: Mode-1 acts')


def test_mode_1_has_no_answer_to_a_goal_in_readouts(agent):
    goal = Goal(readouts={'x_m': 1.0})
    assert react(agent.new_actor(), settings(agent, goal=goal), job(agent, 1), 'late') is None


def test_what_a_state_waited_for_the_thread_counts_as_latency(agent, bench):
    b = bench(agent.new_actor())
    b.thread.configure(settings(agent, budget_ms=20_000.0))
    b.thread.submit(replace(job(agent, 1), since_s=time.perf_counter() - 5.0))
    assert b.news.acquire(timeout=10)
    assert b.delivered[0][1].latency_ms > 5000
