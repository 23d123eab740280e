"""Worlds whose best predictions are known: states follow from actions by a rule, so no encoder is needed."""
import tiny
import torch
from torch import nn

from jepa_ros.evaluation.open_loop.level import Level
from jepa_ros.evaluation.open_loop.linear import folds, Trial
from jepa_ros.evaluation.open_loop.statistics import Bootstrap
from jepa_ros.training.states import level_states
from jepa_ros.world_model.predictors import Predictor


def moved(data, rule=lambda a: 0.1 * a):
    """s (N, 2) that begins at 0 in each episode and moves by rule(a) a step; 0.1·a is what `integrator_model` says."""
    s = torch.zeros(data.steps, 2)
    for start, length in zip(data.starts.tolist(), data.lengths.tolist()):
        s[start + 1:start + length] = rule(data.actions[start:start + length - 1]).cumsum(0)
    return s


class MeanAction(nn.Module):
    """The macro-action that an integrator of four steps a period needs: (…, 4, 2) -> (…, 2)."""

    def forward(self, actions):
        return actions.mean(-2)


def integrator(levels=2):
    model = tiny.integrator_model(levels)
    for jepa in model.levels[1:]:
        jepa.action_encoder = MeanAction()
    return model


class Inertia(Predictor):
    """Goes on as before: needs the state before the present one."""

    context = 2

    def __init__(self):
        super().__init__(2, 2)

    def begin(self, s, c):
        return (s[..., -1, :],)

    def step(self, s, c, memory):
        before = s if memory is None else memory[0]
        return s + (s - before), (s,)


def level_of(model, data, s, index=0):
    return Level(model, index, data, level_states(model, data, s, index), 0.1)


def trial(data, judged=None, resamples=50):
    everything = torch.arange(len(data.starts))
    judged = everything if judged is None else torch.tensor(judged)
    return Trial(judged, folds(judged, everything[~torch.isin(everything, judged)]),
                 Bootstrap(len(judged), resamples=resamples))
