"""The landmark graph: grown from states, bounded, shortest ways."""
import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from tiny import invariant
import torch

from jepa_ros.configurator.landmarks import DEARER, LandmarkGraph
from jepa_ros.energy.distance import squared
from jepa_ros.errors import ConfigError


def line(*xs: float) -> torch.Tensor:
    """States (n, 2) on the x axis."""
    return torch.tensor([[x, 0.0] for x in xs])


def grown(*trajectories: tuple[float, ...], radius: float = 0.5) -> LandmarkGraph:
    graph = LandmarkGraph(2, radius)
    graph.grow((np.arange(len(xs)) * 0.5, line(*xs)) for xs in trajectories)
    return graph


def way(graph: LandmarkGraph, start: int, goal: int, closed=None):
    entries, exits = np.full(len(graph), np.inf), np.full(len(graph), np.inf)
    entries[start], exits[goal] = 0.0, 0.0
    return graph.way(entries, exits, closed)


def test_states_apart_become_landmarks_and_states_near_one_do_not():
    graph = grown((0, 0.1, 0.2, 2, 2.1, 4))
    assert graph.states[:, 0].tolist() == [0, 2, 4]


def test_an_edge_costs_the_seconds_from_coming_to_the_one_to_coming_to_the_other():
    edges = grown((-2, 0, 0.1, 0.2, 2, 4)).edges
    assert edges[1, 2] == pytest.approx(1.5) and edges[2, 3] == pytest.approx(0.5)
    assert np.isinf(edges[0, 1])        # nothing says when the robot came to where it was put
    assert np.isinf(edges[2, 1])        # nobody went back


def test_between_trajectories_and_over_gaps_in_time_there_is_no_transition():
    assert np.isinf(grown((0, 2), (4, 6)).edges).all()
    graph = LandmarkGraph(2, 0.5)
    for now_s, state in zip((0.0, 0.5, 9.0, 9.5), line(0, 2, 4, 6)):
        graph.see(state, now_s)
    assert np.isfinite(graph.edges).sum() == 0


def test_the_quickest_way_is_found_and_closed_landmarks_are_gone_around():
    graph = grown((-9, 0, 2, 4, 6), (-9, 0, 20, 6))
    names = {round(float(x)): n for n, x in enumerate(graph.states[:, 0])}
    found = way(graph, names[0], names[6])
    assert [round(float(graph.states[n, 0])) for n in found.nodes] == [0, 20, 6]
    assert found.seconds[-1] == pytest.approx(1.0)
    closed = np.zeros(len(graph), bool)
    closed[names[20]] = True
    assert [round(float(graph.states[n, 0])) for n in way(graph, names[0], names[6], closed).nodes] == [0, 2, 4, 6]
    assert way(graph, names[6], names[0]) is None


def test_an_edge_that_failed_gets_dearer_until_it_is_travelled_again():
    graph = grown((-9, 0, 2))
    before = graph.edges[1, 2]
    graph.blame(1, 2)
    assert graph.edges[1, 2] == pytest.approx(DEARER * before)
    graph.grow([(np.arange(3) * 0.5, line(-9, 0, 2))])
    assert graph.edges[1, 2] == pytest.approx(before)


def test_what_a_model_imagines_is_an_edge_too():
    graph = grown((0, 2), (4,))
    graph.imagined(0, [0.0, math.inf, 3.0])
    assert way(graph, 0, 2).seconds == pytest.approx((0.0, 3.0, 3.0)) and np.isinf(graph.edges[0, 0])


def test_a_full_graph_becomes_coarser_and_keeps_its_ways():
    graph = LandmarkGraph(2, 0.5, capacity=16)
    graph.grow([(np.arange(60) * 0.5, line(*np.arange(60) * 1.0))])
    assert len(graph) <= 16 and graph.radius > 0.5 and graph.version > 0
    start, goal = graph.nearest(line(3)[0])[0], graph.nearest(line(59)[0])[0]
    assert way(graph, start, goal) is not None


def test_a_state_that_is_not_finite_is_passed_over():
    graph = LandmarkGraph(2, 0.5)
    assert graph.see(torch.tensor([math.nan, 0.0]), 0.0) == -1 and len(graph) == 0
    assert way(graph, 0, 0) is None if len(graph) else graph.way(np.zeros(0), np.zeros(0)) is None


@pytest.mark.parametrize('radius, capacity', [(0.0, 8), (math.nan, 8), (1.0, 1)])
def test_sizes_that_cannot_be_are_refused_in_one_line(radius, capacity):
    with pytest.raises(ConfigError, match='landmarks: radius is'):
        LandmarkGraph(2, radius, capacity)


@invariant
@given(st.integers(0, 2**31), st.integers(4, 24))
def test_landmarks_lie_apart_and_no_way_is_quicker_than_its_edges(seed, capacity):
    generator = torch.Generator().manual_seed(seed)
    graph = LandmarkGraph(3, 0.4, capacity)
    walk = torch.randn(200, 3, generator=generator).mul(0.3).cumsum(0)
    graph.grow([(np.arange(200) * 0.1, walk)])
    n = len(graph)
    assert n <= capacity
    apart = squared(graph.states[:, None], graph.states[None]) + torch.eye(n) * 1e9
    assert float(apart.min()) > graph.radius ** 2 * 0.999 or n == 1
    found = way(graph, 0, n - 1)
    if found is not None and len(found.nodes) > 1:
        edges = graph.edges
        total = sum(edges[i, j] for i, j in zip(found.nodes, found.nodes[1:]))
        assert found.seconds[-1] == pytest.approx(total, rel=1e-4)
